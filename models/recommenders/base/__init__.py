"""The interface of families: the two halves of a round, scoring, and the data for both."""
