"""What all families of recommenders have in common, and which there are."""
