"""The quality table."""
