"""LightFM as a family, on fedrec's own arrays."""
