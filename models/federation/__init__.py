"""Models, updates, plans, merging: the algebra of a federated round."""
