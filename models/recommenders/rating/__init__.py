"""Predicted ratings: Bayesian matrix factorisation, federated."""
