"""What one job keeps on disk: journal, lease, outbox and timings."""
