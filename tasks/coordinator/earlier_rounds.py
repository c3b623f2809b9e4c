"""The first rounds of an earlier job, which a longer job of the same series takes over.

Jobs of one series differ only in their number of rounds. The records that are taken over keep the name of the
job that trained them, and so do the paths of their models and of the clients' users. Nothing of those is
copied.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from data_contracts.outcome import ContractOutcome
from models.errors import CorruptArtifact
from models.federation.rounds import is_evaluated
from tasks.exchange.store import Exchange
from tasks.jobs.journal import Journal, round_subject
from tasks.jobs.outbox import note_of, outbox_of
from tasks.messages.job_opening import Continued, JobOpening
from tasks.messages.outbox_messages import RoundMessage
from tasks.messages.round_record import RoundRecord, TrackedRound
from tasks.tracking.metric_names import metrics_of_round

# The longer job's run has them by other times.
_OF_TRACKING = ("tracking", "total")


@dataclass(frozen=True)
class EarlierRounds:
    """The rounds of an earlier job that another one has in common with it.

    Attributes:
        journal: the earlier job's journal.
        records: records of these rounds, from round 0 on.
    """

    journal: Journal
    records: Sequence[RoundRecord]

    @property
    def continued(self) -> Continued:
        """Return the earlier job and the last of these rounds."""
        return Continued(self.journal.job_id, self.records[-1].round)

    def require_model(self, exchange: Exchange) -> None:
        """Raise `CorruptArtifact` unless the exchange has the model of the last of these rounds."""
        exchange.get(self.records[-1].model)


@dataclass(frozen=True)
class TakenOver:
    """What a new job stores of the rounds that it takes over.

    Attributes:
        records: records of the rounds, from round 0 on.
        messages: what MLflow is told about them.
        outcomes: round -> outcomes of its contracts.
    """

    records: Sequence[RoundRecord]
    messages: Sequence[RoundMessage]
    outcomes: Mapping[int, Sequence[ContractOutcome]]

    def write(self, journal: Journal) -> None:
        """Write it to the folder of a job that is not opened yet."""
        for record in self.records:
            journal.commit(record)
        for round_, outcomes in self.outcomes.items():
            for each in outcomes:
                journal.add_outcome(round_subject(round_), each.contract, each.to_json())
        outbox = outbox_of(journal)
        for message in self.messages:
            outbox.put(message)


def shorter_jobs(jobs: Path, opening: JobOpening) -> list[Journal]:
    """Return the journals of the jobs of the same series with fewer rounds than the job of `opening`.

    Jobs whose opening cannot be read belong to no series.
    """
    return [
        journal
        for journal, other in _openings(jobs, opening.name)
        if other.series is not None and other.series == opening.series and other.rounds < opening.rounds
    ]


def continued_rounds(jobs: Path, journal: Journal) -> set[int]:
    """Return the rounds of a job from which other jobs continue."""
    continued = [other.continued for _, other in _openings(jobs, journal.opening.name)]
    return {each.round for each in continued if each is not None and each.job_id == journal.job_id}


def taken_over(earlier: EarlierRounds, *, rounds: int, every: int) -> TakenOver:
    """Return what a job of `rounds` rounds stores of earlier rounds, as if it had trained them.

    An evaluation that is not due in the longer job, as that of a shorter one's last round, is left out.

    Args:
        earlier: the rounds.
        rounds: number of rounds of the longer job.
        every: rounds between evaluations.

    Raises:
        CorruptArtifact: a note or an outcome of these rounds is missing or damaged.
    """
    messages, last = [], earlier.records[-1].round
    for record in earlier.records[1:]:
        note = note_of(earlier.journal, record.round)
        if note is not None:
            due = is_evaluated(record.round, every=every, rounds=rounds)
            messages.append(_message(record, note if due else _not_evaluated(note)))
        elif record.round != last:  # the last one may have been committed right before a crash
            raise CorruptArtifact(
                f"Job {earlier.journal.job_id} has no note about round {record.round}.", round=record.round
            )
    outcomes = [ContractOutcome.from_json(text) for text in earlier.journal.outcomes()]
    # A client may have any name, but only clients' data are judged by this contract.
    outcomes = [each for each in outcomes if each.contract != "interactions"]
    of_rounds = {
        record.round: [each for each in outcomes if each.subject == f"round-{record.round}"]
        for record in earlier.records[1:]
    }
    return TakenOver(earlier.records, messages, of_rounds)


def _openings(jobs: Path, name: str) -> list[tuple[Journal, JobOpening]]:
    """Return the jobs of this name, and how they were opened, sorted by time."""
    found = []
    for path in jobs.glob(f"{name}-*/job.json"):
        journal = Journal(path.parent)
        with contextlib.suppress(CorruptArtifact, OSError):
            if journal.opening.rounds:
                found.append((journal, journal.opening))
    return sorted(found, key=lambda each: each[1].opened_at)


def _message(record: RoundRecord, note: TrackedRound) -> RoundMessage:
    seconds = {name: value for name, value in note.seconds.items() if name not in _OF_TRACKING}
    return RoundMessage(
        record=record.with_evaluation(note.evaluation),
        metrics=metrics_of_round(record, note.metrics, seconds),
        note=note,
    )


def _not_evaluated(note: TrackedRound) -> TrackedRound:
    metrics = {name: value for name, value in note.metrics.items() if not name.startswith("validation/")}
    return replace(note, metrics=metrics, evaluation=None)
