"""Configuration files: typed, documented, and strict about unknown keys."""
