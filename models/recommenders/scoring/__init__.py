"""From a model and a history to scored, explained recommendations."""
