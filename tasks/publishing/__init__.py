"""From the registry to bundles, and the watch over it."""
