"""The table of predicted ratings."""
