"""Recommendations from the promoted model."""
