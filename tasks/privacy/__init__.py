"""Privacy on disk: the accounts of what was spent of budgets, a client's key of noise, and its own log."""
