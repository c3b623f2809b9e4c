"""The cold-start tables."""
