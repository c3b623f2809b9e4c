"""Attacks on a federation: reading users off updates, and lifting an item by false updates."""
