"""MLflow: runs, the registry, and what is sent to both."""
