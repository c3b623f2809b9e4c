"""Training from Python, with the settings that `fedrec train` gives to Prefect and MLflow."""

from __future__ import annotations

from pathlib import Path

from flows.settings.training_config import TrainingConfig
from tasks.messages.job_result import JobResult

# Of a partition; see `tasks.datasets.partition_reader`, which takes time to import.
_MANIFEST = "partition.json"


def train_locally(config: TrainingConfig) -> JobResult:
    """Run a job in this process, or continue an interrupted one, and return its result.

    A job that stops below its quorum or at a broken contract has the status "stopped" and a `stop_reason`.

    Raises:
        FedrecError: the data or the configuration cannot be used.
    """
    from tasks.local.environment import apply

    apply()
    start_server_early(config)
    # Prefect and MLflow read the environment when they are imported.
    from flows.train import run_locally

    result, _ = run_locally(config)
    return result


def start_server_early(config: TrainingConfig) -> None:
    """Start Prefect's server before Prefect is imported, so that both happen at once.

    Data that are missing are reported without a server. Silos use one that they can reach.
    """
    from tasks.local.home import current_home
    from tasks.orchestration.server import start_temporary_server

    if config.data.dir is not None and (Path(config.data.dir) / _MANIFEST).is_file():
        start_temporary_server(current_home())
