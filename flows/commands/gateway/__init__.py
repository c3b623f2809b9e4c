"""The commands of a coordinator with a gateway."""
