"""Sends a job's outbox to MLflow: each message once and in order, and later if MLflow is unavailable."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import assert_never

from pydantic import JsonValue

from models.errors import CorruptArtifact, JobBusy
from tasks.datasets.item_table import read_item_table
from tasks.exchange.store import Exchange
from tasks.jobs import lease
from tasks.jobs.journal import Journal, held_alone
from tasks.jobs.outbox import Waiting, note_of, outbox_of, outboxes
from tasks.local.atomic import write_atomically
from tasks.local.disk_full import is_disk_full
from tasks.local.home import Home
from tasks.messages.job_result import JobResult
from tasks.messages.outbox_messages import (
    BreachMessage,
    LineageMessage,
    OpeningMessage,
    OutboxMessage,
    Refusal,
    ResultMessage,
    RoundMessage,
    is_in_order,
    named,
)
from tasks.messages.round_record import START_TRACKED, TrackedRound
from tasks.tracking.descriptions import refused_line, run_description, run_name
from tasks.tracking.mlflow_model import FAMILIES, model_files
from tasks.tracking.outage import is_outage, line_of, reason_of
from tasks.tracking.registry import client as registry_client
from tasks.tracking.run_tracker import ENDED_ALONE, NO_RESULT_YET, Tracker, find_run, open_run

# Called with one line for people.
Warn = Callable[[str], None]

_ITEMS = "items.parquet"
# A stopped job failed, like its flow run: what watches for failures must see it.
_RUN_STATUS = {"finished": "FINISHED", "stopped": "FAILED"}


class _Away(Exception):
    """MLflow is unavailable."""


class OutboxSender:
    """Sends one job's messages to MLflow through the job's outbox.

    A message that MLflow refuses is set aside, and with it the ones that need it. Nothing of this stops the
    job.

    Args:
        home: contains MLflow's database, unless the environment names a server.
        journal: the job's journal, held by this process.
        exchange: contains the job's models; by default the exchange that the job's opening names.
        flow_run_id: id of the Prefect flow run of the job; None if there is none.

    Attributes:
        outbox: the job's outbox.
        silence: why messages wait; None if none waits.
        refused: why messages were set aside by this sender, one for each, in order.
        seconds: wall seconds in which this sender sent rounds.
    """

    def __init__(
        self, home: Home, journal: Journal, exchange: Exchange | None = None, flow_run_id: str | None = None
    ) -> None:
        self._home = home
        self._journal = journal
        self._given_exchange = exchange
        self._flow_run_id = flow_run_id
        self.outbox = outbox_of(journal)
        self._tracker: Tracker | None = None
        # Whether an earlier try may already have sent the next round.
        self._is_repeated = False
        # Whether this process works on the job, and does not only send what an earlier one left.
        self._is_at_work = False
        self.silence: str | None = None
        self.refused: list[Refusal] = []
        self.seconds = 0.0

    @property
    def run_id(self) -> str | None:
        """Return the id of the job's MLflow run; None if MLflow has not been available since the opening."""
        return self._tracker.run_id if self._tracker else None

    def open(self, config: Mapping[str, JsonValue], items: Path) -> None:
        """Let configuration and item catalogue wait, and again the messages that were set aside before.

        Args:
            config: the training configuration as JSON values.
            items: the item catalogue, a Parquet file.
        """
        kept = self.outbox.folder / _ITEMS
        if not kept.exists():
            self.outbox.folder.mkdir(exist_ok=True)
            write_atomically(kept, items.read_bytes())
        self._is_at_work = True
        self.outbox.put_back()
        if self._journal.tracked(0) is None:
            self._put_opening(config)
        # A job that continues will have another result.
        for each in self.outbox.waiting():
            if isinstance(each.message_if_readable(), ResultMessage):
                each.path.unlink()

    def put(self, message: OutboxMessage) -> Waiting:
        """Put a message into the outbox, where it waits until it is sent. Raises as `send_waiting` does."""
        with self._journal.guarded():
            return self.outbox.put(message)

    def send_waiting(self, progress: Callable[[], None] = lambda: None) -> bool:
        """Send all waiting messages, and return whether MLflow has received them.

        While MLflow is unavailable, they keep waiting. Those that it refuses are set aside.

        Args:
            progress: called after each message.

        Raises:
            LeaseLost: another process has taken the job over.
            OSError: the disk is full.
        """
        before = len(self.refused)
        try:
            # Under one guard: a process that loses its lease in between would send the message a second time.
            with self._journal.guarded():
                self._send_all(progress)
        except _Away as away:
            self._is_repeated = True
            self.silence = str(away)
            return False
        self.silence = None
        return len(self.refused) == before

    @property
    def experiment_id(self) -> str | None:
        """Return the id of the experiment of the job's MLflow run; None under the same condition."""
        return self._tracker.experiment_id if self._tracker else None

    def close(self) -> None:
        """End the run of a job on which no process works, as the job ended, unless messages still wait."""
        if self.silence is None:
            self.end(*self._last_state())

    def end(self, status: str, outcome: str | None = None, reason: str | None = None) -> None:
        """End the run with this status. If MLflow does not do it now, housekeeping ends the run later.

        Args:
            status: FINISHED, FAILED or KILLED.
            outcome: a sentence that says why, for the run's description; None to leave that as it is.
            reason: why the job has not finished; see `Tracker.end`.
        """
        # No error of MLflow may hide the one that ends the job.
        with contextlib.suppress(Exception):
            if self._tracker:
                self._tracker.end(status, outcome and self._described(outcome), reason)

    def _last_state(self) -> tuple[str, str | None, str | None]:
        """Return the run's status, what to say of it (None if the result has said it), and the reason."""
        try:
            result = self._journal.result()
        except CorruptArtifact:
            return "FAILED", (damaged := "The job's result is damaged."), damaged
        if any(each.refusal.in_order for each in self.outbox.refused()):
            lacks = "MLflow lacks records of the job. fedrec outbox list says which, and why."
            return "FAILED", lacks, lacks
        if result is None:
            return "KILLED", ENDED_ALONE, None
        return _RUN_STATUS[result.status], None, result.stop_reason

    def note_of(self, round_: int) -> TrackedRound | None:
        """Return the note about a committed round, sent or still waiting; None if there is none."""
        return note_of(self._journal, round_)

    def _send_all(self, progress: Callable[[], None]) -> None:
        try:
            self._opened()
        except Exception as error:  # noqa: BLE001 - raised again unless it concerns messages alone
            self._require_refusal(error)  # each message is set aside for the same reason
        for each in self.outbox.waiting():
            self._send_one(each)
            progress()

    def _send_one(self, entry: Waiting) -> None:
        message = None
        try:
            message = entry.message
            tracker = self._opened()
            if is_in_order(message) and (needed := self._needed_by(entry)) is not None:
                self._set_aside(entry, message, f"It follows record {needed}", follows=needed)
                return
            self._deliver(tracker, message)
        except Exception as error:  # noqa: BLE001 - as above
            self._require_refusal(error)
            self._is_repeated = True
            self._set_aside(entry, message, line_of(error))
        else:
            entry.path.unlink()
            if isinstance(message, RoundMessage):
                # Rounds are sent in order, so no later one was tried before.
                self._is_repeated = False

    def _needed_by(self, entry: Waiting) -> int | None:
        """Return the number of a refused message that must be sent before this one; None if there is none."""
        earlier = (each for each in self.outbox.refused() if each.number < entry.number)
        return next((each.number for each in earlier if each.refusal.in_order), None)

    def _set_aside(
        self, entry: Waiting, message: OutboxMessage | None, reason: str, follows: int | None = None
    ) -> None:
        refusal = Refusal(
            what=named(message) if message else "unreadable",
            in_order=is_in_order(message) if message else True,
            reason=reason,
            follows=follows,
            refused_at=datetime.now(UTC).isoformat(timespec="seconds"),
        )
        self.outbox.set_aside(entry, refusal)
        self.refused.append(refusal)
        if isinstance(message, ResultMessage):
            # Otherwise the run would stay RUNNING.
            self.end("FAILED", f"MLflow refused the job's result: {reason}.")

    def _require_refusal(self, error: Exception) -> None:
        """Raise an error unless this one concerns messages alone.

        Raises:
            _Away: MLflow is unavailable.
            Exception: the disk is full, or another process has taken the job over.
        """
        if isinstance(error, JobBusy) or is_disk_full(error):
            raise error
        if is_outage(error, registry_client(self._home)):
            raise _Away(reason_of(error)) from error

    def _opened(self) -> Tracker:
        if self._tracker is None:
            opening, job_id = self._journal.opening, self._journal.job_id
            run_id = find_run(self._home, opening.name, job_id)
            self._is_repeated = self._is_repeated or run_id is not None
            if run_id is None or self._journal.tracked(0) is None:
                self._put_opening(opening.config)
            described, name = self._described(NO_RESULT_YET), run_name(opening, job_id)
            self._tracker = open_run(
                self._home, opening.name, job_id, opening.model_name, run_id, self._tags(), name, described
            )
            if run_id is not None and self._is_at_work:
                self._tracker.describe(described)
        return self._tracker

    def _described(self, outcome: str) -> str:
        return run_description(self._journal.opening, self._journal.job_id, outcome)

    def _put_opening(self, config: Mapping[str, JsonValue]) -> None:
        """Let the opening wait, before all other messages, unless it already does or was refused.

        Its message may have been lost, or its run deleted in MLflow. A version without the catalogue that the
        opening stores cannot be read.
        """
        if not any(isinstance(each.message_if_readable(), OpeningMessage) for each in self.outbox.all()):
            self.outbox.put(OpeningMessage(config=config), first=True)

    def _tags(self) -> dict[str, str]:
        opening, start = self._journal.opening, self._journal.committed()[0]
        tags = {
            "fedrec.data_digest": start.data_digest,
            "fedrec.catalog_digest": start.catalog_digest,
            "mlflow.source.git.commit": opening.git_revision,
        }
        if opening.continued:
            earlier = opening.continued
            run = find_run(self._home, opening.name, earlier.job_id)
            tags |= {
                "fedrec.continues": earlier.job_id,
                "fedrec.continues_round": str(earlier.round),
                **({"fedrec.continues_run": run} if run else {}),
            }
        return tags | ({"fedrec.flow_run": self._flow_run_id} if self._flow_run_id else {})

    @cached_property
    def _model_files(self) -> dict[str, bytes]:
        """Return the files that make each round an MLflow model; none for families of other packages."""
        if self._journal.opening.family not in FAMILIES:
            return {}
        return model_files(read_item_table((self.outbox.folder / _ITEMS).read_bytes()))

    @cached_property
    def _exchange(self) -> Exchange:
        if self._given_exchange:
            return self._given_exchange
        return Exchange(self._journal.opening.exchange_url or self._home.exchange.as_uri())

    def _deliver(self, tracker: Tracker, message: OutboxMessage) -> None:
        match message:
            case OpeningMessage():
                tracker.log_opening(message.config, self.outbox.folder / _ITEMS, self._journal.opening)
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
        if record.job_id != self._journal.job_id:
            version = tracker.log_shared_round(record, message.metrics, note.version)
            self._journal.note_tracked(record.round, replace(note, version=version))
            return
        model = self._exchange.get(record.model)
        version = tracker.log_round(
            record, model, message.metrics, resumed=self._is_repeated, beside=self._model_files
        )
        took = time.perf_counter() - began
        self.seconds += took
        seconds = {**note.seconds, "tracking_beside": took}
        self._journal.note_tracked(record.round, replace(note, version=version, seconds=seconds))

    def _deliver_result(self, tracker: Tracker, message: ResultMessage) -> None:
        completed = self.completed(message.result)
        folder = self._journal.folder / "report"
        tracker.log_result(message.metrics, self._journal.committed()[-1], folder, message.tables)
        tracker.log_json("result.json", completed.to_json())
        tracker.end(_RUN_STATUS[completed.status], self._described(message.outcome), completed.stop_reason)
        if self._journal.result() is not None:
            self._journal.conclude(completed)

    def completed(self, result: JobResult) -> JobResult:
        """Return the result with the ids and the version numbers that MLflow has assigned so far."""
        rounds = tuple(each.with_note(self.note_of(each.round)) for each in result.rounds)
        named = replace(result, run_id=self.run_id, experiment_id=self.experiment_id)
        return named.with_rounds(rounds)


def send_what_waits(home: Home, warn: Warn | None = None) -> list[str]:
    """Send the waiting messages of all jobs, and return the ids of the jobs whose messages were all sent.

    Running jobs are left out, because they send their own. No fault of one job is raised.

    Args:
        home: contains the jobs.
        warn: called with one line for each job of which MLflow refused a message.
    """
    waiting = [each.journal for each in outboxes(home) if each.outbox.waiting()]
    return [journal.job_id for journal in waiting if _sent(home, journal, warn)]


def send_again(home: Home, journal: Journal, warn: Warn | None = None) -> bool:
    """Send a job's messages that wait or were set aside, and return whether MLflow now has all of them.

    Args:
        home: contains the job.
        journal: of the job.
        warn: called with one line if MLflow lacks some of them.
    """
    return _sent(home, journal, warn, again=True)


def _sent(home: Home, journal: Journal, warn: Warn | None, *, again: bool = False) -> bool:
    say = warn or (lambda _: None)
    try:
        with lease.left_behind(journal.folder) as is_left:
            pass
        if not is_left:
            raise lease.busy(journal.folder)
        with held_alone(journal) as held:
            if again:
                outbox_of(held).put_back()
            sender = OutboxSender(home, held)
            is_sent = sender.send_waiting()
            if sender.refused:
                say(refused_line(held.job_id, sender.refused))
            sender.close()
            return is_sent
    except JobBusy as error:
        if again:
            say(str(error))
    except Exception as error:
        if is_disk_full(error):
            raise
        say(f"The records of job {journal.job_id} cannot be sent to MLflow: {line_of(error)}.")
    return False
