"""The serving process under load."""
