"""The only code that has the data of several clients in memory at once."""
