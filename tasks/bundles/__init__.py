"""The files that a serving process maps; the only room of tasks that serving imports besides local."""
