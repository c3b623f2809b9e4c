"""The mathematics of fedrec, free of clock, disk, network, environment and global random state."""
