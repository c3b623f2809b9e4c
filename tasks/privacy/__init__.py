"""Privacy on disk: the accounts of what was spent of budgets, and the secret key of a client's noise."""
