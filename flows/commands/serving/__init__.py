"""Commands that answer, or publish what answers."""
