"""A search's study and its trials."""
