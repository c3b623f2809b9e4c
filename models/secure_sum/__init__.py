"""Sums over the members of a cohort of which nobody sees a summand; protocol.py describes them."""
