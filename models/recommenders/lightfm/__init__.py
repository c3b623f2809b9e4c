"""LightFM on our arrays."""
