"""MLflow: runs, the model registry, and the messages sent to both."""
