"""An owner's tables become a partition or a snapshot, and are read again."""
