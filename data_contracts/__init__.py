"""What data must look like at each border, and what a breach means."""
