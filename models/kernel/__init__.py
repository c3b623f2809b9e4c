"""Arrays, seeds, the catalogue, histories and metrics: what all of the mathematics shares."""
