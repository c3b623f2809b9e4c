"""A client of the registry that imports MLflow only when MLflow is needed."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from tasks.tracking.mlflow_client.reads import RegistryReads

if TYPE_CHECKING:
    from tasks.tracking.mlflow_client.light import LightClient


class RegistryClient:
    """MLflow's client, made at the first call that only MLflow can answer.

    Args:
        tracking_uri: of MLflow's server or database.
        reads: answers reads without MLflow; None to let MLflow answer them.
    """

    def __init__(self, tracking_uri: str, reads: RegistryReads | None) -> None:
        self.tracking_uri = tracking_uri
        self._reads = reads

    @property
    def reads(self) -> RegistryReads:
        """Return what answers reads."""
        return self._reads or self._mlflow.reads

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._mlflow, name)

    @cached_property
    def _mlflow(self) -> LightClient:
        from tasks.tracking.mlflow_client.light import LightClient

        return LightClient(tracking_uri=self.tracking_uri, registry_uri=self.tracking_uri)
