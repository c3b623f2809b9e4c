"""`fedrec bench` and its commands."""
