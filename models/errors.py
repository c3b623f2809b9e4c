"""The one family of errors that fedrec raises on purpose.

A message says what happened, what was expected against what was met, and the next step. The facts behind it
are attributes of the error as well, so that callers and tests need not read prose.
"""

from __future__ import annotations

from typing import Any


class FedrecError(Exception):
    """Something fedrec refuses to do; retrying the same call cannot help.

    Args:
        what: what happened, where, and expected against got, in one sentence.
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
        # Exception's own reduction forgets keyword arguments, and errors cross process borders here.
        return _rebuild, (type(self), self.what, self.next_step, self.facts)


def _rebuild(kind: type[FedrecError], what: str, next_step: str, facts: dict[str, Any]) -> FedrecError:
    return kind(what, next_step=next_step, **facts)


class InvalidInput(FedrecError):
    """A file, table or argument given by the user breaks a named rule."""

    exit_code = 2


class InvalidConfig(InvalidInput):
    """A configuration has an unknown key or a value out of range."""


class SourceUnavailable(FedrecError):
    """A data set could be fetched from none of its sources."""


class CatalogMismatch(FedrecError):
    """Two parties number the items differently, so their arrays must not meet."""


class CorruptArtifact(FedrecError):
    """Stored bytes are not the bytes their SHA-256 promises, or not of the expected form."""


class DivergedUpdate(FedrecError):
    """Local training produced values that are not finite."""


class StaleUpdate(FedrecError):
    """An update or answer was made for another job or round, or from another base model."""


class ForgedAnswer(FedrecError):
    """An answer does not prove that the silo it names gave it."""


class EgressRefused(FedrecError):
    """A silo's policy does not let this leave."""


class ContractViolation(FedrecError):
    """Data at a border does not look as the contract there requires."""

    exit_code = 5


class SiloFailed(FedrecError):
    """A silo could not do a step; why stands in the silo's own log, because it may speak of its data."""


class QuorumNotReached(FedrecError):
    """Too few clients of a cohort delivered a usable update."""

    exit_code = 3


class JobBusy(FedrecError):
    """Another coordinator is already working on this job."""


class LeaseLost(JobBusy):
    """Another coordinator took the job over while this one was paused."""


class DiskFull(FedrecError):
    """No space is left where something had to be written."""


class TrackingUnavailable(FedrecError):
    """MLflow does not answer, and what was asked for needs it."""


class PromotionRefused(FedrecError):
    """At least one gate did not pass, so the champion stays."""

    exit_code = 4


class NotFound(FedrecError):
    """A job, version, alias or item that was asked for does not exist."""


class LedgerTampered(FedrecError):
    """An entry of a ledger does not follow from the entries before it."""

    exit_code = 6
