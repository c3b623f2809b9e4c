"""Which families there are."""
