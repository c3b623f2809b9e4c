"""The study of a search for settings, and its trials."""
