"""Sends a job's outbox to MLflow: each message once and in order, and later if MLflow is unavailable."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import assert_never

import pandas as pd
from pydantic import JsonValue

from models.errors import JobBusy
from tasks.exchange.store import Exchange
from tasks.jobs import lease
from tasks.jobs.journal import Journal
from tasks.jobs.outbox import Outbox, Waiting
from tasks.local.atomic import write_atomically
from tasks.local.home import Home
from tasks.messages.job_result import JobResult
from tasks.messages.outbox_messages import (
    BreachMessage,
    LineageMessage,
    OpeningMessage,
    OutboxMessage,
    ResultMessage,
    RoundMessage,
)
from tasks.messages.round_record import START_TRACKED, TrackedRound
from tasks.tracking.mlflow_model import model_files
from tasks.tracking.outage import is_outage, reason_of
from tasks.tracking.registry import client as registry_client
from tasks.tracking.run_tracker import Tracker, find_run, open_run

_ITEMS = "items.parquet"


class OutboxSender:
    """Sends one job's messages to MLflow through the job's outbox.

    Args:
        home: contains MLflow's database, unless the environment names a server.
        journal: the job's journal, held by this process.
        exchange: contains the job's models.
        flow_run_id: id of the Prefect flow run of the job; None if there is none.

    Attributes:
        silence: why MLflow has not received all messages; None if it has.
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
        # Whether an earlier try may already have sent the next message.
        self._is_repeated = False
        self.silence: str | None = None

    @property
    def run_id(self) -> str | None:
        """Return the id of the job's MLflow run; None if MLflow has not been available since the opening."""
        return self._tracker.run_id if self._tracker else None

    def open(self, config: Mapping[str, JsonValue], items: Path) -> None:
        """Send configuration and item catalogue, and set the job's MLflow run to RUNNING.

        Args:
            config: the training configuration as JSON values.
            items: the item catalogue, a Parquet file.
        """
        kept = self._outbox.folder / _ITEMS
        if not kept.exists():
            self._outbox.folder.mkdir(exist_ok=True)
            write_atomically(kept, items.read_bytes())
        waiting = self._outbox.waiting()
        if self._journal.tracked(0) is None and not _has_opening(waiting):
            self._outbox.put(OpeningMessage(config=config))
        # A job that continues will have another result.
        for each in waiting:
            if isinstance(each.message, ResultMessage):
                each.path.unlink()
        self.send_waiting()

    def send(self, message: OutboxMessage) -> bool:
        """Put a message into the outbox, send all waiting ones, and return whether MLflow has received it."""
        with self._journal.guarded():
            self._outbox.put(message)
            return self.send_waiting()

    def send_waiting(self) -> bool:
        """Send all waiting messages, and return whether MLflow has received them. The others keep waiting.

        Raises:
            MlflowException: MLflow is available and refuses a message.
        """
        try:
            # Under one guard: a process that loses its lease in between would send the message a second time.
            with self._journal.guarded():
                tracker = self._opened()
                for each in self._outbox.waiting():
                    self._deliver(tracker, each.message)
                    each.path.unlink()
                    # Messages are sent in order, so no later one was tried before.
                    self._is_repeated = False
        except Exception as error:
            self._is_repeated = True
            if not is_outage(error, registry_client(self._home)):
                raise
            self.silence = reason_of(error)
            return False
        self.silence = None
        return True

    def waiting(self) -> int:
        """Return the number of messages that MLflow has not received yet."""
        return self._outbox.count()

    def end(self, status: str) -> None:
        """End the run with this status. If MLflow is unavailable, housekeeping ends it later."""
        try:
            if self._tracker:
                self._tracker.end(status)
        except Exception as error:
            if not is_outage(error):
                raise

    def note_of(self, round_: int) -> TrackedRound | None:
        """Return the note about a committed round, sent or still waiting; None if there is none."""
        tracked = self._journal.tracked(round_)
        if tracked is not None:
            return tracked
        for each in self._outbox.waiting():
            if isinstance(each.message, RoundMessage) and each.message.record.round == round_:
                return each.message.note
        return None

    def _opened(self) -> Tracker:
        if self._tracker is None:
            opening, job_id = self._journal.opening, self._journal.job_id
            run_id = find_run(self._home, opening.name, job_id)
            self._is_repeated = self._is_repeated or run_id is not None
            self._tracker = open_run(
                self._home, opening.name, job_id, opening.model_name, run_id, self._tags()
            )
        return self._tracker

    def _tags(self) -> dict[str, str]:
        opening, start = self._journal.opening, self._journal.committed()[0]
        tags = {
            "fedrec.data_digest": start.data_digest,
            "fedrec.catalog_digest": start.catalog_digest,
            "mlflow.source.git.commit": opening.git_revision,
        }
        return tags | ({"fedrec.flow_run": self._flow_run_id} if self._flow_run_id else {})

    @cached_property
    def _model_files(self) -> dict[str, bytes]:
        """Return the files that make each round an MLflow model; none for families other than LightFM."""
        if self._journal.opening.family != "lightfm":
            return {}
        return model_files(pd.read_parquet(self._outbox.folder / _ITEMS))

    def _deliver(self, tracker: Tracker, message: OutboxMessage) -> None:
        match message:
            case OpeningMessage():
                tracker.log_opening(message.config, self._outbox.folder / _ITEMS)
                self._journal.note_tracked(0, START_TRACKED)
            case LineageMessage():
                tracker.log_lineage(message.data)
            case RoundMessage():
                self._deliver_round(tracker, message)
            case BreachMessage():
                tracker.log_breach(message.round, message.subject, message.text)
            case ResultMessage():
                self._deliver_result(tracker, message)
            case _:
                assert_never(message)

    def _deliver_round(self, tracker: Tracker, message: RoundMessage) -> None:
        began = time.perf_counter()
        record, note = message.record, message.note
        model = self._exchange.get(record.model)
        version = tracker.log_round(
            record, model, message.metrics, resumed=self._is_repeated, beside=self._model_files
        )
        took = time.perf_counter() - began
        seconds = {**note.seconds, "tracking": took, "total": note.seconds["total"] + took}
        self._journal.note_tracked(record.round, replace(note, version=version, seconds=seconds))

    def _deliver_result(self, tracker: Tracker, message: ResultMessage) -> None:
        completed = self.completed(message.result)
        folder = self._journal.folder / "report"
        tracker.log_result(message.metrics, self._journal.committed()[-1].round, folder, message.tables)
        tracker.log_json("result.json", completed.to_json())
        tracker.end("FINISHED" if completed.status == "finished" else "KILLED")
        if self._journal.result() is not None:
            self._journal.conclude(completed)

    def completed(self, result: JobResult) -> JobResult:
        """Return the result with the run id and the version numbers that MLflow has assigned so far."""
        rounds = tuple(each.with_note(self.note_of(each.round)) for each in result.rounds)
        return replace(result, run_id=self.run_id, rounds=rounds)


def send_what_waits(home: Home) -> list[str]:
    """Send the waiting messages of all jobs, and return the ids of the jobs whose messages were sent.

    Running jobs are left out, because they send their own.
    """
    sent = []
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
            if _sent(home, Journal(folder, taken)):
                sent.append(folder.name)
        finally:
            taken.release()
    return sent


def _has_opening(waiting: Sequence[Waiting]) -> bool:
    return any(isinstance(each.message, OpeningMessage) for each in waiting)


def _sent(home: Home, journal: Journal) -> bool:
    url = journal.opening.exchange_url or home.exchange.as_uri()
    sender = OutboxSender(home, journal, Exchange(url))
    is_sent = sender.send_waiting()
    if is_sent and journal.result() is None:
        sender.end("KILLED")  # no process works on it; the next one that does reopens the run
    return is_sent
