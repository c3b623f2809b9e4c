"""Promotion: collects the evidence, moves the aliases, and writes the decision ledger."""
