"""The deployments of prefect.yaml, as Prefect should have them."""
