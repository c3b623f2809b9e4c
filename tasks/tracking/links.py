"""Addresses of pages in MLflow's UI."""

from __future__ import annotations

import os

from tasks.local.home import Home
from tasks.tracking.registry import client as registry_client

# MLflow 3.17 opens an experiment in its view for GenAI, where a training looks empty.
_RUNS_VIEW = "?workflowType=machine_learning"


def run_links(home: Home, run_id: str | None) -> list[tuple[str, str]]:
    """Return what to read in MLflow about a run, as (text, address); nothing if MLflow does not answer.

    With a database instead of a server the addresses are those of `make ui`.
    """
    client = registry_client(home)
    try:
        experiment_id = client.get_run(run_id).info.experiment_id if run_id else None
    # A page without links is better than a job that fails after its end.
    except Exception:  # noqa: BLE001
        experiment_id = None
    if experiment_id is None:
        return []
    experiment = f"{ui_url(str(client.tracking_uri))}/#/experiments/{experiment_id}"
    return [
        ("its run in MLflow", f"{experiment}/runs/{run_id}"),
        ("all runs of its experiment in MLflow", f"{experiment}{_RUNS_VIEW}"),
    ]


def ui_url(tracking_uri: str) -> str:
    """Return the address of MLflow's UI for a tracking URI."""
    if tracking_uri.startswith(("http://", "https://")):
        return tracking_uri.rstrip("/")
    return f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT', '5000')}"
