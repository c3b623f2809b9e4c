"""A finished job, shown to people."""
