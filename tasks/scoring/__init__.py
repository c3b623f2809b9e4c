"""Recommendations from a registered version, for one history or for a file of users."""
