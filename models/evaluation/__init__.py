"""Leak-free splits, and metrics that can be added over clients."""
