"""Configuration files: typed, documented, and strict about what they do not know."""
