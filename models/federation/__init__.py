"""The algebra of a federated round: models, updates, plans and merging."""
