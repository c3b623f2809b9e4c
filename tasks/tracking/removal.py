"""Removes versions from the registry, and artefacts of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient


def delete_version(client: MlflowClient, model_name: str, version: int) -> None:
    """Delete a version from the registry. MLflow gives its number to no other version of the model."""
    client.delete_model_version(model_name, str(version))


def artifacts_of_run(client: MlflowClient, run_id: str) -> str | None:
    """Return the URI of a run's artefacts; None if the run was deleted for good."""
    from mlflow.exceptions import MlflowException

    try:
        return str(client.get_run(run_id).info.artifact_uri)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None


def delete_folder(client: MlflowClient, artifacts: str, folder: str) -> None:
    """Delete a folder of a run's artefacts, which need not exist.

    Args:
        client: a client of the tracking server, which may also serve the artefacts.
        artifacts: URI of the run's artefacts.
        folder: path below it.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    # Object stores delete by prefix: without the last slash, rounds/1000 would include rounds/10001.
    get_artifact_repository(artifacts, client.tracking_uri).delete_artifacts(f"{folder}/")
