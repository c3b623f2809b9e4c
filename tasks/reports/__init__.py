"""The report of a finished job, for people."""
