"""Ledgers: chains of entries in which every later edit shows."""
