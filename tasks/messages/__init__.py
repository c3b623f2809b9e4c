"""What crosses the border between coordinator and clients, as plain values with a JSON form."""
