"""The record of a search in MLflow: one run per study, with one child run per trial."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tasks.local.home import Home
from tasks.messages.record import flattened
from tasks.tracking.experiments import experiment_id_of
from tasks.tracking.metric_names import metrics_of_trial
from tasks.tracking.registry import client as registry_client
from tasks.tracking.run_tracker import git_revision

if TYPE_CHECKING:
    from mlflow.entities import Run
    from mlflow.tracking import MlflowClient

_STUDY, _TRIAL = "fedrec.study", "fedrec.trial"


class StudyTracker:
    """A study's runs. A call that is repeated after a crash finds its run and writes the same values again.

    Args:
        home: the home of the database, unless the environment names a server.
        experiment: the experiment's name.
        study_id: of the study.
        settings: of the study.
    """

    def __init__(self, home: Home, experiment: str, study_id: str, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self._client: MlflowClient = registry_client(home)
        self._experiment_id = experiment_id_of(self._client, home, experiment)
        self._study_id = study_id
        self._run = self._run_of("", {"fedrec.git": git_revision()})
        self.run_id: str = self._run.info.run_id
        self._client.update_run(self.run_id, status="RUNNING")
        parameters = [Param(name, str(value)[:500]) for name, value in flattened(settings)]
        self._client.log_batch(self.run_id, params=parameters)

    def log_trial(
        self, number: int, values: Mapping[str, Any], steps: Mapping[int, Mapping[str, float]], status: str
    ) -> None:
        """Write the trial's run, with its values and the metrics after each step."""
        from mlflow.entities import Metric, Param

        run_id = self._run_of(str(number), {"mlflow.parentRunId": self.run_id}).info.run_id
        metrics = [
            Metric(name, value, 0, step)
            for step, found in steps.items()
            for name, value in metrics_of_trial(found).items()
        ]
        parameters = [Param(name, str(value)) for name, value in values.items()]
        self._client.log_batch(run_id, metrics=metrics, params=parameters)
        self._client.set_terminated(run_id, status)

    def end(self, best: Mapping[str, Any] | None, status: str) -> None:
        """End the study's run, and record the best trial."""
        if best is not None:
            self._client.log_metric(self.run_id, "quality/objective", best["objective"])
            self._client.log_dict(self.run_id, dict(best), "best.json")
        self._client.set_terminated(self.run_id, status)

    def _run_of(self, trial: str, tags: Mapping[str, str]) -> Run:
        wanted = f"tags.`{_STUDY}` = '{self._study_id}' and tags.`{_TRIAL}` = '{trial or 'all'}'"
        found = self._client.search_runs([self._experiment_id], wanted, max_results=1)
        if found:
            return found[0]
        name = f"{self._study_id}-{trial}" if trial else self._study_id
        described = {_STUDY: self._study_id, _TRIAL: trial or "all", **tags}
        return self._client.create_run(self._experiment_id, run_name=name, tags=described)
