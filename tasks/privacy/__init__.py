"""Privacy on disk: the accounts of what was spent of budgets, and a client's secret key of noise and own log."""
