"""The only code that holds the rows of several clients at once."""
