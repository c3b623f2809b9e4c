"""Tamper-evident ledgers: hash chains of entries, and their heads."""
