"""The registry of families."""
