"""The files that a serving process maps. Besides `tasks.local`, serving imports no other package of tasks."""
