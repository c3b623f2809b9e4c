"""Differential privacy of users: the noise that clients add, what it costs, and what was spent."""
