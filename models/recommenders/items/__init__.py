"""The item side of recommenders: features, titles and item models."""
