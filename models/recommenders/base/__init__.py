"""What every family of recommenders is: the two halves of a round, an answer, and the data for both."""
