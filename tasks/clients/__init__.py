"""One client's half of a step, beside its own rows."""
