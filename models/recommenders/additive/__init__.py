"""Families whose statistics are sums over users."""
