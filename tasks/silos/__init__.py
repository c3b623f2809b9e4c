"""What runs on a silo's own machine, and what it signs."""
