"""Measurements of fedrec, made by `fedrec bench`."""
