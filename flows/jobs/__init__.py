"""One training job, from its opening over its rounds to its conclusion."""
