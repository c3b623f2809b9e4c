"""The addresses of MLflow's pages.

MLflow opens an experiment in its view for language models, in which a job's run does not show. The query
`workflowType=machine_learning` opens the view for training.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from tasks.local.home import Home
from tasks.messages.job_result import JobResult
from tasks.tracking.registry import tracking_uri

_VIEW = "workflowType=machine_learning"


@dataclass(frozen=True)
class MlflowPages:
    """The pages of one MLflow server.

    Attributes:
        root: the address of the server, without a slash at its end.
        is_served: whether the environment names this server. Otherwise `make ui` starts it.
    """

    root: str
    is_served: bool

    def experiment(self, experiment_id: str) -> str:
        """Return the address of the table of an experiment's runs."""
        return self._page("experiments", experiment_id)

    def run(self, experiment_id: str, run_id: str) -> str:
        """Return the address of a run."""
        return self._page("experiments", experiment_id, "runs", run_id)

    def version(self, model_name: str, version: int) -> str:
        """Return the address of a version of a registered model."""
        return self._page("models", model_name, "versions", str(version))

    def _page(self, *parts: str) -> str:
        return f"{self.root}/#/{'/'.join(quote(part, safe='') for part in parts)}?{_VIEW}"


def mlflow_pages(home: Home) -> MlflowPages:
    """Return the pages of the server that the environment names, or those that `make ui` serves for the home.

    The addresses leave out the user and the password of a server.
    """
    found = urlsplit(tracking_uri(home))
    if found.scheme in ("http", "https"):
        place = found.netloc.rpartition("@")[2] + found.path.rstrip("/")
        return MlflowPages(f"{found.scheme}://{place}", is_served=True)
    return MlflowPages(f"http://127.0.0.1:{os.environ.get('MLFLOW_PORT') or '5000'}", is_served=False)


def places_of_job(pages: MlflowPages, result: JobResult) -> list[str]:
    """Return where MLflow shows a job, one line each, and first how to start MLflow if no server is named."""
    lines = [] if pages.is_served else ["Start MLflow's and Prefect's pages first: `make ui`"]
    if result.experiment_id is None or result.run_id is None:
        return lines
    lines += [
        f"The job's run in MLflow: {pages.run(result.experiment_id, result.run_id)}",
        f"All runs beside each other: {pages.experiment(result.experiment_id)}",
    ]
    best = result.best_round
    if best is not None and best.version is not None:
        page = pages.version(result.model_name, best.version)
        lines.append(f"Version {best.version}, its best round by validation: {page}")
    return lines
