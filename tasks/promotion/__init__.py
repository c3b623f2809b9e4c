"""Evidence in, aliases and ledger entries out."""
