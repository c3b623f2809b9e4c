"""The files of one job on disk: journal, lease, outbox and timings."""
