"""What all of the mathematics shares: arrays, seeds, the item catalogue, histories and metrics."""
