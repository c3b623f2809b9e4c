"""The outcome of checking data against a contract, as plain values that are sent, stored and displayed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from data_contracts.strict_json import read_exactly
from models.errors import CorruptArtifact
from models.kernel.json_values import read_json

ContractName = Literal["interactions", "updates", "embeddings"]
CONTRACTS: tuple[ContractName, ...] = ("interactions", "updates", "embeddings")

_SHOWN_KEYS = 5


@dataclass(frozen=True)
class Breach:
    """An expectation that does not hold.

    Attributes:
        expectation: stable name of the expectation in its suite, such as `item_known`.
        column: the column that the expectation is about; None if it is about the table.
        observed: the observed value, as text.
        required: the requirement, as text.
        keys: the rows in breach: client ids (updates), row numbers (interactions), item rows (embeddings).
            Interactions and embeddings list the first 20. Updates list every client, because each of them
            is rejected.
        count: number of all rows in breach; 0 if the whole table is in breach.
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
        contract: name of the contract.
        subject: what was checked: a client id, or `round-7`.
        passed: whether every expectation holds.
        breaches: the expectations that do not hold, in the suite's order.
        evaluated: number of evaluated expectations.
        result: Great Expectations' suite validation result as JSON values. Data Docs are built from it.
    """

    contract: ContractName
    subject: str
    passed: bool
    breaches: tuple[Breach, ...]
    evaluated: int
    result: Mapping[str, Any] = field(repr=False)

    def summary(self) -> str:
        """Return the outcome as one line of text."""
        head = f"Contract {self.contract} for {self.subject}"
        if self.passed:
            return f"{head}: all {self.evaluated} expectations hold."
        broken = "; ".join(str(breach) for breach in self.breaches)
        return f"{head}: {len(self.breaches)} of {self.evaluated} expectations broken: {broken}."

    def to_json(self) -> str:
        """Return the outcome as one line of JSON. Equal outcomes give equal text."""
        # `asdict` would copy the result value by value, which takes ten times as long as writing it.
        values = {**vars(self), "breaches": [asdict(breach) for breach in self.breaches]}
        return json.dumps(values, sort_keys=True, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> ContractOutcome:
        """Return the outcome that `to_json` wrote.

        Raises:
            CorruptArtifact: the text is not a contract outcome.
        """
        try:
            return read_exactly(cls, read_json(text))
        except (ValueError, TypeError) as error:
            raise CorruptArtifact(f"The text is not a contract outcome: {error}.") from error
