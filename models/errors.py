"""The errors that fedrec raises on purpose.

A message says what happened, what was expected, what was found, and the next step. The facts behind the
message are also attributes of the error, so callers and tests do not have to parse prose.
"""

from __future__ import annotations

from typing import Any


class FedrecError(Exception):
    """An operation that fedrec refuses. Retrying the same call does not help.

    Args:
        what: one sentence: what happened, where, what was expected and what was found.
        next_step: what the reader can do about it; may be empty.
        **facts: the values behind the sentence; each becomes an attribute.
    """

    exit_code = 1

    def __init__(self, what: str, *, next_step: str = "", **facts: Any) -> None:
        super().__init__(f"{what} {next_step}".strip())
        self.what = what
        self.next_step = next_step
        self.facts = facts
        self.__dict__.update(facts)

    def __reduce__(self) -> tuple[Any, ...]:
        # Exception.__reduce__ drops keyword arguments, and these errors are pickled between processes.
        return _rebuild, (type(self), self.what, self.next_step, self.facts)


def _rebuild(kind: type[FedrecError], what: str, next_step: str, facts: dict[str, Any]) -> FedrecError:
    return kind(what, next_step=next_step, **facts)


class InvalidInput(FedrecError):
    """A file, table or argument from the user breaks a named rule."""

    exit_code = 2


class InvalidConfig(InvalidInput):
    """A setting has an unknown key or a value out of range."""


class SourceUnavailable(FedrecError):
    """All sources of a data set failed."""


class CatalogMismatch(FedrecError):
    """Two parties number the items differently, so their arrays cannot be combined."""


class CorruptArtifact(FedrecError):
    """Stored bytes do not match their SHA-256 or do not have the expected format."""


class DivergedUpdate(FedrecError):
    """Local training produced values that are not finite."""


class StaleUpdate(FedrecError):
    """An update or answer belongs to another job, round or base model."""


class ForgedAnswer(FedrecError):
    """An answer carries no proof that it comes from the silo that it names."""


class ProtocolBreach(FedrecError):
    """A message breaks the protocol of secure sums: it is damaged, repeated, from elsewhere, or a lie."""


class EgressRefused(FedrecError):
    """A silo's policy forbids sending this data."""


class ContractViolation(FedrecError):
    """Data breaks the contract of the border that it crosses."""

    exit_code = 5


class SiloFailed(FedrecError):
    """A silo could not do a step. Only the silo's own log has the cause, because it may reveal data."""


class QuorumNotReached(FedrecError):
    """Fewer clients than the quorum delivered a usable update."""

    exit_code = 3


class JobStopped(FedrecError):
    """A job stopped before its last round. `result` is what it reached; `exit_code` is that of the cause."""


class JobBusy(FedrecError):
    """Another coordinator is already working on this job."""


class LeaseLost(JobBusy):
    """Another coordinator took over the job while this one was paused."""


class DiskFull(FedrecError):
    """No space is left on a disk that must be written to."""


class TrackingUnavailable(FedrecError):
    """MLflow does not answer, and the operation needs it."""


class PromotionRefused(FedrecError):
    """At least one gate failed, so the champion stays."""

    exit_code = 4


class NotFound(FedrecError):
    """The requested job, version, alias or item does not exist."""

    exit_code = 2


class BudgetExceeded(FedrecError):
    """A job would spend more of a privacy budget than is left, so it does not begin."""

    exit_code = 7


class LedgerTampered(FedrecError):
    """An entry of a ledger does not follow from the entries before it, so the ledger was changed."""

    exit_code = 6
