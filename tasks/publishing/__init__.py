"""Publishes the registry's champion as bundles, and rolls back a champion whose hit rate drops."""
