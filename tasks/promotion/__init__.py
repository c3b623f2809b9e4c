"""Promotion: evidence in, aliases and ledger entries out."""
