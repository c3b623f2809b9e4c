"""Logs a job to MLflow: one run per job, one step per round, and everything needed to audit it later."""

from __future__ import annotations

import getpass
import json
import math
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from pydantic import JsonValue

from models.kernel.metric import Metric, as_json, values
from tasks.jobs.lease import left_behind
from tasks.local.home import Home
from tasks.messages.job_opening import JobOpening
from tasks.messages.outbox_messages import Table
from tasks.messages.record import flattened
from tasks.messages.round_record import EvaluatedRound, RoundRecord
from tasks.tracking.descriptions import privacy_facts
from tasks.tracking.experiments import experiment_id_of
from tasks.tracking.metric_names import deciding_metric, metric_name
from tasks.tracking.outage import is_outage
from tasks.tracking.registered_round import round_folder
from tasks.tracking.registry import client as registry_client
from tasks.tracking.registry import ensure_registered_model, find_version, register_round

if TYPE_CHECKING:
    from mlflow.entities import DatasetInput, Run
    from mlflow.tracking import MlflowClient

# Column name -> one value for each row.
Columns = Mapping[str, Sequence[JsonValue]]

_JOB_TAG = "fedrec.job"
_REASON_TAG = "fedrec.stop_reason"
_REASON_LENGTH = 5000
DESCRIPTION_TAG = "mlflow.note.content"
# Descriptions of a run while its job has no result.
NO_RESULT_YET = "No result yet."
ENDED_ALONE = "The job's process ended before the job. The same command continues it."
# Number of the newest tables that MLflow's UI shows as tables. All others stay readable as JSON.
_MOST_TABLES = 20


class Tracker:
    """A job's run in MLflow.

    Every call that a crash may repeat is idempotent. Metrics have the round's own time as their timestamp, so
    that MLflow treats a repeated batch as the same one. A version is searched for before it is created.

    Args:
        client: a client of the tracking server.
        run_id: the job's run.
        model_name: the registered model of which rounds become versions.
        experiment_id: the run's experiment, if known.
    """

    def __init__(
        self, client: MlflowClient, run_id: str, model_name: str, experiment_id: str | None = None
    ) -> None:
        self.client = client
        self.run_id = run_id
        self.model_name = model_name
        self.experiment_id = experiment_id
        self._shown: list[str] = []

    def log_opening(
        self, config: Mapping[str, JsonValue], items: Path, opening: JobOpening | None = None
    ) -> None:
        """Log a job's configuration and its item catalogue.

        The deciding metric is logged too, still without a value. MLflow lists metrics in the order in which a
        run got them, and compares runs by the first.

        Args:
            config: the configuration.
            items: the catalogue, a Parquet file.
            opening: names the settings that become parameters, by default all, and the deciding metric.
        """
        from mlflow.entities import Metric as RunMetric
        from mlflow.entities import Param

        shown = {
            name: value
            for name, value in flattened(config)
            if opening is None or opening.parameters is None or name in opening.parameters
        }
        if opening is not None:
            shown |= privacy_facts(opening.privacy, "privacy.")
        parameters = [Param(name, str(value)[:500]) for name, value in shown.items()]
        metrics = (
            [RunMetric(deciding_metric(opening.quality), math.nan, _milliseconds(opening.opened_at), 0)]
            if opening is not None and opening.quality
            else []
        )
        self.client.log_batch(self.run_id, params=parameters, metrics=metrics)
        self.client.log_dict(self.run_id, dict(config), "config.yaml")
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "items.parquet"
            copy.write_bytes(items.read_bytes())
            self.client.log_artifact(self.run_id, str(copy), "catalog")

    def log_lineage(self, data: Mapping[str, tuple[str, str]]) -> None:
        """Log the training data: one dataset per client, identified by its digest.

        Args:
            data: client id -> (SHA-256 of its data, their location).
        """
        self.client.log_inputs(self.run_id, datasets=_lineage(data))

    def log_round(
        self,
        record: EvaluatedRound,
        model: bytes,
        metrics: Mapping[str, float],
        *,
        resumed: bool,
        beside: Mapping[str, bytes] | None = None,
    ) -> int:
        """Log a round's metrics and artefacts, register its version, and return the version's number.

        Args:
            record: the round's record, as in `round.json`.
            model: the model's bytes.
            metrics: single numbers for MLflow's charts.
            resumed: whether an earlier try may have logged a part of it.
            beside: name -> content of further files of the version (see `tasks.tracking.mlflow_model`).
        """
        # The version is created last: if it exists, everything else does, and stays as it was registered.
        if resumed:
            version = find_version(self.client, self.model_name, record.job_id, record.round)
            if version is not None:
                return version
        self._log_measured(metrics, record)
        folder = round_folder(record.round)
        with tempfile.TemporaryDirectory() as local:
            (Path(local) / "model.safetensors").write_bytes(model)
            (Path(local) / "round.json").write_text(json.dumps(record.to_json(), indent=1, sort_keys=True))
            for name, content in (beside or {}).items():
                (Path(local) / name).write_bytes(content)
            self.client.log_artifacts(self.run_id, local, folder)
        uri = f"{self._artifacts}/{folder}"
        return register_round(self.client, self.model_name, self.run_id, uri, record)

    def log_shared_round(
        self, record: EvaluatedRound, metrics: Mapping[str, float], version: int | None
    ) -> int | None:
        """Log the metrics of a round that an earlier job trained, and return the version that that job made.

        Its model stays with the run of the earlier job, and is not registered twice.

        Args:
            record: the round's record, which names the earlier job.
            metrics: single numbers for MLflow's charts.
            version: the version, if known.
        """
        self._log_measured(metrics, record)
        return version or find_version(self.client, self.model_name, record.job_id, record.round)

    def log_breach(self, round_: int, subject: str, text: str) -> None:
        """Log the outcome of a contract that makes a round fail. Call this before the round fails."""
        self.client.log_text(self.run_id, text, f"contracts/{subject}.json")
        self.client.set_tag(self.run_id, "fedrec.breach", f"round {round_}: {subject}")

    def log_result(
        self,
        metrics: Mapping[str, float],
        last: RoundRecord,
        folder: Path,
        tables: Mapping[str, Table],
    ) -> None:
        """Log a job's final metrics, its tables and all files below `folder`.

        The metrics have step 0, because MLflow draws bars of those and lines of what has other steps.

        Args:
            metrics: metric name -> value.
            last: the record of the last round, whose time the metrics have.
            folder: the folder of the report.
            tables: name of the artefact -> its rows.
        """
        self._log_metrics(metrics, last, step=0)
        self._tables({name: _columns(rows) for name, rows in tables.items() if rows})
        self.client.log_artifacts(self.run_id, str(folder))

    @cached_property
    def _artifacts(self) -> str:
        """Return the URI of the run's artefacts. Cached, because MLflow loads a run with all its metrics."""
        return str(self.client.get_run(self.run_id).info.artifact_uri)

    def _log_measured(self, metrics: Mapping[str, float], record: EvaluatedRound) -> None:
        self._log_metrics(metrics, record, step=record.round)
        if record.evaluation:
            name = f"clients/round-{record.round:04d}.json"
            self._tables({name: _client_table(record.evaluation.clients)})

    def _log_metrics(self, metrics: Mapping[str, float], record: RoundRecord, step: int) -> None:
        from mlflow.entities import Metric as RunMetric

        timestamp = _milliseconds(record.committed_at)
        batch = [RunMetric(metric_name(name), value, timestamp, step) for name, value in metrics.items()]
        self.client.log_batch(self.run_id, metrics=batch)

    def _tables(self, tables: Mapping[str, Columns]) -> None:
        """Write tables of these names, replace those of an earlier try, and let MLflow's UI show them.

        `log_table` is not used: it lists all tables in one tag, which breaks at 8,000 characters, and reads
        that tag and the folder before each table.
        """
        from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_ARTIFACTS

        for name, columns in tables.items():
            text = pd.DataFrame(columns).to_json(orient="split", index=False, date_format="iso")
            self.client.log_text(self.run_id, text, name)
        older = [name for name in self._shown if name not in tables]
        self._shown = [*older, *tables][-_MOST_TABLES:]
        shown = [{"path": name, "type": "table"} for name in self._shown]
        self.client.set_tag(self.run_id, MLFLOW_LOGGED_ARTIFACTS, json.dumps(shown))

    def log_json(self, name: str, value: Mapping[str, JsonValue]) -> None:
        """Log JSON values as an artefact of this name."""
        self.client.log_dict(self.run_id, dict(value), name)

    def describe(self, text: str) -> None:
        """Replace the run's description."""
        self.client.set_tag(self.run_id, DESCRIPTION_TAG, text)

    def end(self, status: str, description: str | None = None, reason: str | None = None) -> None:
        """End the run.

        Args:
            status: FINISHED, FAILED or KILLED.
            description: replaces the run's description; None to leave it.
            reason: why the job has not finished, for a tag that other programs read. A job that continues
                loses it.
        """
        if description is not None:
            self.describe(description)
        if reason:
            self.client.set_tag(self.run_id, _REASON_TAG, reason[:_REASON_LENGTH])
        self.client.set_terminated(self.run_id, status)


def open_run(
    home: Home,
    experiment: str,
    job_id: str,
    model_name: str,
    run_id: str | None,
    tags: Mapping[str, str],
    run_name: str | None = None,
    description: str = "",
) -> Tracker:
    """Return the tracker of a job's run and set the run to RUNNING. An interrupted job keeps its run.

    This also ends the runs of jobs whose process is gone, as KILLED.

    Args:
        home: contains database and artefacts, unless the environment names a server.
        experiment: the experiment's name.
        job_id: the job's id.
        model_name: the registered model.
        run_id: the run of an earlier try, if any.
        tags: the tags of a new run.
        run_name, description: of a new run; its name is the job's id by default.
    """
    client = registry_client(home)
    experiment_id = experiment_id_of(client, home, experiment)
    end_orphans(client, home, [experiment_id], job_id)
    if run_id is None:
        own = {_JOB_TAG: job_id, "mlflow.user": getpass.getuser(), DESCRIPTION_TAG: description}
        run_id = client.create_run(
            experiment_id, run_name=run_name or job_id, tags={**own, **tags}
        ).info.run_id
    else:
        client.update_run(run_id, status="RUNNING")
        if _REASON_TAG in client.get_run(run_id).data.tags:
            client.delete_tag(run_id, _REASON_TAG)
    ensure_registered_model(client, model_name)
    return Tracker(client, run_id, model_name, experiment_id)


def find_run(home: Home, experiment: str, job_id: str) -> str | None:
    """Return the id of this job's run; None if no earlier try created one."""
    client = registry_client(home)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        return None
    runs = client.search_runs([found.experiment_id], f"tags.`{_JOB_TAG}` = '{job_id}'", max_results=1)
    return str(runs[0].info.run_id) if runs else None


def end_orphans(
    client: MlflowClient, home: Home, experiment_ids: Sequence[str] | None = None, own_job: str | None = None
) -> list[str]:
    """End the runs of jobs whose process is gone, as KILLED, and return the ids of those jobs.

    Only jobs of this home are checked, because processes of other homes cannot be seen from here.

    Args:
        client: a client of the tracking server.
        home: contains the jobs.
        experiment_ids: the experiments to search; all by default.
        own_job: the job of this process, which is left out.
    """
    from tasks.tracking.mlflow_client.reads import all_pages

    if experiment_ids is None:
        experiment_ids = [each.experiment_id for each in all_pages(client.search_experiments)]
    ended = []
    # A tag may hold any text, also a path.
    own = {each.name for each in home.jobs.iterdir()} - {own_job} if home.jobs.is_dir() else set()
    # All pages are read before a run is ended, because an ended run no longer matches.
    for run in list(all_pages(client.search_runs, list(experiment_ids), "attributes.status = 'RUNNING'")):
        job_id = run.data.tags.get(_JOB_TAG)
        if job_id not in own:
            continue
        with left_behind(home.jobs / job_id) as has_ended:
            if has_ended and _ended(client, run):
                ended.append(str(job_id))
    return sorted(ended)


def _ended(client: MlflowClient, run: Run) -> bool:
    """Set a run to KILLED, and return whether MLflow did it. A refusal concerns no other job."""
    try:
        client.set_tag(run.info.run_id, DESCRIPTION_TAG, _ended_alone(run.data.tags))
        client.set_terminated(run.info.run_id, "KILLED")
    except Exception as error:
        if is_outage(error):
            raise
        return False
    return True


def git_revision() -> str:
    """Return the checkout's commit, with `-dirty` if files differ from it; `unknown` outside a checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"],  # noqa: S607
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def _milliseconds(time: str) -> int:
    """Return an ISO 8601 time as milliseconds since 1970."""
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def _lineage(data: Mapping[str, tuple[str, str]]) -> list[DatasetInput]:
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.data.sources import LocalArtifactDatasetSource
    from mlflow.entities import DatasetInput, InputTag

    inputs = []
    for client_id, (sha256, place) in data.items():
        # MLflow keeps at most 36 characters of a digest.
        dataset = MetaDataset(LocalArtifactDatasetSource(place), name=client_id, digest=sha256[:32])
        inputs.append(
            DatasetInput(dataset._to_mlflow_entity(), [InputTag("mlflow.data.context", "training")])
        )
    return inputs


def _client_table(clients: Mapping[str, Mapping[str, Metric]]) -> Columns:
    names = sorted({name for metrics in clients.values() for name in metrics})
    shown = [values(as_json(metrics)) for metrics in clients.values()]
    cases = [max((each.weight for each in metrics.values()), default=0) for metrics in clients.values()]
    columns = {name: [each.get(name) for each in shown] for name in names}
    return {"client_id": list(clients), **columns, "cases": cases}


def _ended_alone(tags: Mapping[str, str]) -> str:
    """Return the description of a run whose job's process is gone."""
    _, _, settings = tags.get(DESCRIPTION_TAG, "").partition("\n")
    return f"{ENDED_ALONE}\n{settings}".strip()


def _columns(rows: Table) -> Columns:
    """Return the rows as columns, the form of MLflow's tables. Nested values become dotted columns."""
    flat = [dict(flattened(row)) for row in rows]
    names = list(dict.fromkeys(name for row in flat for name in row))
    return {name: [row.get(name) for row in flat] for name in names}
