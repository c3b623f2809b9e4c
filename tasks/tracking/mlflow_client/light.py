"""MLflow's client without its check for prompts, which loads every version of a registered model."""

from __future__ import annotations

from mlflow.tracking import MlflowClient

from tasks.tracking.mlflow_client.reads import ClientReads


class LightClient(MlflowClient):  # type: ignore[misc]  # MLflow has no types
    """A client whose calls about one version cost the same whatever the number of versions.

    Before it sets or deletes a tag, an alias or a version, MLflow 3.17 asks whether the registered model is a
    prompt. For that it loads all versions: .6 s at 12,000. fedrec names only models that it has registered.
    If a later MLflow has no such check, this class changes nothing.
    """

    @property
    def reads(self) -> ClientReads:
        """Return what answers reads."""
        return ClientReads(self)

    def _raise_if_prompt(self, name: str) -> None:
        """Accept the name."""
