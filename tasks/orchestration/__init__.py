"""Prefect's API: deployments, logs, runs and patience with its server."""
