"""Prefect's API: deployments, logs, runs and retries while its server is away."""
