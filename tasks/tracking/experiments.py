"""Finds and makes MLflow's experiments, one for each name of a job."""

from __future__ import annotations

from typing import TYPE_CHECKING

from models.errors import InvalidConfig
from tasks.local.home import Home
from tasks.tracking.registry import open_registry

if TYPE_CHECKING:
    from mlflow.entities import Experiment
    from mlflow.tracking import MlflowClient

    from tasks.tracking.mlflow_client.reads import ExperimentEntry


def require_experiment(home: Home, name: str) -> None:
    """Raise `InvalidConfig` if the experiment of this name was deleted in MLflow. It may be missing."""
    try:
        found = open_registry(home).reads.experiment(name)
    except Exception:  # noqa: BLE001 - an outage or a refusal, which the job's outbox handles
        return
    if found is not None:
        _require_active(found)


def _require_active(experiment: Experiment | ExperimentEntry) -> None:
    if experiment.lifecycle_stage == "deleted":
        raise InvalidConfig(
            f"The experiment {experiment.name!r} was deleted in MLflow, so it takes no runs.",
            next_step=f"Restore it with mlflow experiments restore -x {experiment.experiment_id} (in the "
            "environment that fedrec env prints), or choose another name.",
            key="name",
        )


def experiment_id_of(client: MlflowClient, home: Home, name: str) -> str:
    """Return the id of the experiment of this name. Create the experiment if it is missing.

    Raises:
        InvalidConfig: the experiment was deleted in MLflow.
    """
    found = find_or_create(client, home, name)
    _require_active(found)
    return str(found.experiment_id)


def find_or_create(client: MlflowClient, home: Home, name: str, note: str | None = None) -> Experiment:
    """Return the experiment of this name, which may be a deleted one. Create it if it is missing.

    Args:
        client: of MLflow.
        home: takes the artefacts where MLflow is a plain database.
        name: the experiment's name.
        note: what MLflow's UI shows as the description of a new experiment.
    """
    found = client.get_experiment_by_name(name)
    if found is not None:
        return found
    # A server chooses the artefact location: by default it serves the artefacts itself. Without a location,
    # artefacts of a plain database are written to the working directory.
    served = client.tracking_uri.startswith(("http://", "https://"))
    location = None if served else (home.mlflow / "artifacts").as_uri()
    tags = {"mlflow.note.content": note} if note else None
    return client.get_experiment(client.create_experiment(name, artifact_location=location, tags=tags))
