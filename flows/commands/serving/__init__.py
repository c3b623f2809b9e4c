"""Commands that recommend items, or publish the model that does."""
