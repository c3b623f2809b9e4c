"""What secure sums cost: a sum by itself, whole jobs, and rounds of real silos, beside plain ones."""
