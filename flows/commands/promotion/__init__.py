"""Commands that change the champion or show who changed it."""
