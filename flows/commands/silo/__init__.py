"""`fedrec silo` and its commands."""
