"""Training from Python, with the settings that `fedrec train` gives to Prefect and MLflow."""

from __future__ import annotations

from flows.settings.training_config import TrainingConfig
from tasks.messages.job_result import JobResult


def train_locally(config: TrainingConfig) -> JobResult:
    """Run a job in this process, or continue an interrupted one, and return its result.

    A job that stops below its quorum or at a broken contract has the status "stopped" and a `stop_reason`.

    Raises:
        FedrecError: the data or the configuration cannot be used.
    """
    from tasks.local.environment import apply

    apply()
    # Prefect and MLflow read the environment when they are imported.
    from flows.train import run_locally

    result, _ = run_locally(config)
    return result
