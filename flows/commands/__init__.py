"""The commands of `fedrec`, one per file; each is imported only when it is called."""
