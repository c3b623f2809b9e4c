"""Leak-free splits and ranking metrics that add across clients."""
