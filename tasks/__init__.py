"""The side effects of fedrec, one per file."""
