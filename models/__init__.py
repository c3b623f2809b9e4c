"""The mathematics of fedrec: no clock, disk, network, environment or global random state."""
