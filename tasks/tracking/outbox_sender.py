"""The relay of a job's outbox: MLflow is told everything once, in order, and late where it was away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from models.errors import JobBusy
from tasks.exchange.store import Exchange
from tasks.jobs import lease
from tasks.jobs.journal import Journal, artifact_of
from tasks.jobs.outbox import Message, Outbox
from tasks.local.atomic import write_atomically
from tasks.local.home import Home
from tasks.tracking.mlflow_model import model_files
from tasks.tracking.outage import is_outage, reason_of
from tasks.tracking.registry import client as registry_client
from tasks.tracking.run_tracker import Tracker, find_run, open_run

_ITEMS = "items.parquet"


class Relay:
    """What one job tells MLflow.

    Args:
        home: where MLflow is, unless the environment names a server.
        journal: of the job, held by this process.
        exchange: where the job's models lie.
        flow_run_id: of Prefect's run that works on the job; None where none does.

    Attributes:
        silence: why MLflow does not have everything; None where it has.
    """

    def __init__(
        self, home: Home, journal: Journal, exchange: Exchange, flow_run_id: str | None = None
    ) -> None:
        self._home = home
        self._journal = journal
        self._exchange = exchange
        self._flow_run_id = flow_run_id
        self._outbox = Outbox(journal.folder / "outbox")
        self._tracker: Tracker | None = None
        # Whether somebody may have told MLflow already what is told now.
        self._is_repeated = False
        self.silence: str | None = None

    @property
    def run_id(self) -> str | None:
        """The job's run in MLflow; None where it was away since the job was opened."""
        return self._tracker.run_id if self._tracker else None

    def open(self, config: Mapping[str, Any], items: Path) -> None:
        """Configuration and item catalogue are told, and MLflow has the job as running."""
        kept = self._outbox.folder / _ITEMS
        if not kept.exists():
            self._outbox.folder.mkdir(exist_ok=True)
            write_atomically(kept, items.read_bytes())
        if self._journal.tracked(0) is None and "opening" not in self._outbox.kinds():
            self._outbox.put("opening", {"config": dict(config)})
        # A job that goes on will have another result.
        for message in self._outbox.waiting():
            if message.kind == "result":
                message.path.unlink()
        self.send()

    def tell(self, kind: str, **content: Any) -> bool:
        """It is told; returns whether MLflow has it already."""
        with self._journal.guarded():
            self._outbox.put(kind, content)
            return self.send()

    def send(self) -> bool:
        """Whether MLflow has all that waited; what it cannot be told now goes on waiting.

        Raises:
            MlflowException: it answers, and refuses.
        """
        try:
            # As one step: whoever was overtaken in the middle of it would do it a second time.
            with self._journal.guarded():
                tracker = self._opened()
                for message in self._outbox.waiting():
                    self._deliver(tracker, message)
                    message.path.unlink()
        except Exception as error:
            self._is_repeated = True
            if not is_outage(error, registry_client(self._home)):
                raise
            self.silence = reason_of(error)
            return False
        self.silence = None
        return True

    def waiting(self) -> int:
        """Number of things that MLflow does not have yet."""
        return len(self._outbox.waiting())

    def end(self, status: str) -> None:
        """The run has ended so, where MLflow can be told; housekeeping ends it otherwise."""
        try:
            if self._tracker:
                self._tracker.end(status)
        except Exception as error:
            if not is_outage(error):
                raise

    def note_of(self, round_: int) -> dict[str, Any] | None:
        """What was evaluated and measured of a round, whether MLflow has it or not; None: nothing."""
        tracked = self._journal.tracked(round_)
        if tracked is not None:
            return tracked
        for message in self._outbox.waiting():
            if message.kind == "round" and message.content["record"]["round"] == round_:
                return dict(message.content["note"])
        return None

    def _opened(self) -> Tracker:
        if self._tracker is None:
            config = self._journal.opening["config"]
            run_id = find_run(self._home, config["name"], self._journal.job_id)
            self._is_repeated = self._is_repeated or run_id is not None
            self._tracker = open_run(
                self._home,
                config["name"],
                self._journal.job_id,
                config["model_name"],
                run_id,
                self._tags(),
            )
        return self._tracker

    def _tags(self) -> dict[str, str]:
        opening, start = self._journal.opening, self._journal.committed()[0]
        tags = {
            "fedrec.data_digest": start["data_digest"],
            "fedrec.catalog_digest": start["catalog_digest"],
            "mlflow.source.git.commit": opening["git_revision"],
        }
        return tags | ({"fedrec.flow_run": self._flow_run_id} if self._flow_run_id else {})

    @cached_property
    def _model_files(self) -> dict[str, bytes]:
        """What makes every round of this job a model that MLflow's own scorers load, which know LightFM."""
        if self._journal.opening["config"]["train"]["family"] != "lightfm":
            return {}
        return model_files(pd.read_parquet(self._outbox.folder / _ITEMS))

    def _deliver(self, tracker: Tracker, message: Message) -> None:
        getattr(self, f"_{message.kind}")(tracker, **message.content)

    def _opening(self, tracker: Tracker, config: dict[str, Any]) -> None:
        tracker.log_opening(config, self._outbox.folder / _ITEMS)
        self._journal.note_tracked(0, {})

    def _lineage(self, tracker: Tracker, data: dict[str, tuple[str, str]]) -> None:
        tracker.log_lineage(data)

    def _round(
        self, tracker: Tracker, record: dict[str, Any], metrics: dict[str, float], note: dict[str, Any]
    ) -> None:
        began = time.perf_counter()
        model = self._exchange.get(artifact_of(record))
        version = tracker.log_round(
            record, model, metrics, resumed=self._is_repeated, beside=self._model_files
        )
        seconds = dict(note["seconds"])
        seconds["tracking"] = time.perf_counter() - began
        seconds["total"] += seconds["tracking"]
        self._journal.note_tracked(record["round"], {**note, "version": version, "seconds": seconds})

    def _breach(self, tracker: Tracker, round: int, subject: str, text: str) -> None:
        tracker.log_breach(round, subject, text)

    def _result(
        self,
        tracker: Tracker,
        result: dict[str, Any],
        metrics: dict[str, float],
        tables: dict[str, list[dict[str, Any]]],
    ) -> None:
        completed = self.completed(result)
        folder = self._journal.folder / "report"
        tracker.log_result(metrics, self._journal.committed()[-1]["round"], folder, tables)
        tracker.log_json("result.json", completed)
        tracker.end("FINISHED" if result["status"] == "finished" else "KILLED")
        if self._journal.result() is not None:
            self._journal.conclude(completed)

    def completed(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result with the run and the versions that MLflow has given by now."""
        rounds = []
        for each in result["rounds"]:
            note = self.note_of(each["round"]) or {}
            rounds.append(each | {"version": note.get("version"), "seconds": note.get("seconds", {})})
        return result | {"run_id": self.run_id, "rounds": rounds}


def send_what_waits(home: Home) -> list[str]:
    """MLflow has what jobs could not tell it while it was away; returns the ids of those jobs.

    Jobs that are being worked on look after themselves.
    """
    told = []
    for folder in sorted({path.parent.parent for path in home.jobs.glob("*/outbox/[0-9]*.json")}):
        with lease.left_behind(folder) as is_left:
            pass
        if not is_left:
            continue
        try:
            taken = lease.take(folder)
        except JobBusy:
            continue
        try:
            if _told(home, Journal(folder, taken)):
                told.append(folder.name)
        finally:
            taken.release()
    return told


def _told(home: Home, journal: Journal) -> bool:
    url = journal.opening["config"]["runner"]["exchange"] or home.exchange.as_uri()
    late = Relay(home, journal, Exchange(url))
    is_told = late.send()
    if is_told and journal.result() is None:
        late.end("KILLED")  # nobody works on it; the next process that does opens the run again
    return is_told
