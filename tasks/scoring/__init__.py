"""Answers from a registered version, on the command line and for a file."""
