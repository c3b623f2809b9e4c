"""What the command prints, and how its options are read."""
