"""Training and scoring of recommenders on one party's arrays."""
