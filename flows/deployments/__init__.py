"""Reads the deployments of prefect.yaml and compares them with Prefect's."""
