"""What came of holding data against a contract: plain values that travel, are stored and are shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from models.errors import CorruptArtifact

ContractName = Literal["interactions", "updates", "embeddings"]
CONTRACTS: tuple[ContractName, ...] = ("interactions", "updates", "embeddings")

_SHOWN_KEYS = 5


@dataclass(frozen=True)
class Breach:
    """One expectation that does not hold.

    Attributes:
        expectation: the expectation's stable name in its suite, such as `item_known`.
        column: the column it speaks about; None where it speaks about the table.
        observed: what was met, for people.
        required: what was expected, for people.
        keys: which rows are in breach: client ids (updates), row numbers (interactions), item rows
            (embeddings). Interactions and embeddings list the first 20; updates list every client,
            because each of them is rejected.
        count: how many rows are in breach altogether; 0 where the breach is of the table as a whole.
    """

    expectation: str
    column: str | None
    observed: str
    required: str
    keys: tuple[str, ...] = ()
    count: int = 0

    def __str__(self) -> str:
        text = f"{self.expectation}: requires {self.required}, got {self.observed}"
        if not self.count:
            return text
        shown = ", ".join(self.keys[:_SHOWN_KEYS])
        more = f" and {self.count - _SHOWN_KEYS} more" if self.count > _SHOWN_KEYS else ""
        return f"{text} (at {shown}{more})"


@dataclass(frozen=True)
class ContractOutcome:
    """The result of one validation.

    Attributes:
        contract: which contract.
        subject: what was held against it: a client id, or `round-7`.
        passed: whether every expectation holds.
        breaches: those that do not, in the suite's order.
        evaluated: number of expectations evaluated.
        result: Great Expectations' suite validation result as JSON values, from which Data Docs are built.
    """

    contract: ContractName
    subject: str
    passed: bool
    breaches: tuple[Breach, ...]
    evaluated: int
    result: Mapping[str, Any] = field(repr=False)

    def summary(self) -> str:
        """One line for people."""
        head = f"Contract {self.contract} for {self.subject}"
        if self.passed:
            return f"{head}: all {self.evaluated} expectations hold."
        broken = "; ".join(str(breach) for breach in self.breaches)
        return f"{head}: {len(self.breaches)} of {self.evaluated} expectations broken: {broken}."

    def to_json(self) -> str:
        """The outcome as one line of JSON; equal outcomes give equal text."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ContractOutcome:
        """The outcome that `to_json` wrote.

        Raises:
            CorruptArtifact: the text is not one.
        """
        try:
            fields = json.loads(text)
            breaches = tuple(Breach(**{**one, "keys": tuple(one["keys"])}) for one in fields.pop("breaches"))
            outcome = cls(**fields, breaches=breaches)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptArtifact(f"This is not a contract outcome: {error}.") from error
        if outcome.contract not in CONTRACTS:
            raise CorruptArtifact(
                f"A contract outcome names the contract {outcome.contract!r}, expected one of {CONTRACTS}."
            )
        return outcome
