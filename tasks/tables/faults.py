"""Rows that break a rule: the first one is refused, or all are collected so that they can be left out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NoReturn, Protocol, get_args

import numpy as np
import numpy.typing as npt

Mask = npt.NDArray[np.bool_]
BadRows = Literal["refuse", "skip"]
BAD_ROWS: tuple[BadRows, ...] = get_args(BadRows)
SKIP = ("--bad-rows", "skip")


class Refuse(Protocol):
    """Raises the error for the row at a position."""

    def __call__(self, position: int, rule: str, next_step: str = ..., **facts: Any) -> NoReturn:
        """Raise the error of a row that breaks a rule."""


@dataclass(frozen=True)
class Broken:
    """What a row breaks.

    Attributes:
        rule: as the end of a sentence about the row.
        next_step: what mends it; may be empty.
    """

    rule: str
    next_step: str = ""


@dataclass
class Faults:
    """The rows of a table that break a rule.

    Attributes:
        rules: (position, rule) of the first ones.
        wrong: positions of all of them.
    """

    wrong: set[int] = field(default_factory=set)
    rules: dict[int, str] = field(default_factory=dict)

    def add(self, mask: Mask, broken: Callable[[int], Broken]) -> None:
        """Add the rows of a mask (n,)."""
        found = np.flatnonzero(mask).tolist()
        for at in found[: SkippedRows.EXAMPLES]:
            self.rules.setdefault(at, broken(at).rule)
        self.wrong.update(found)

    def first(self) -> list[tuple[int, str]]:
        """Return position and rule of the first rows."""
        return sorted(self.rules.items())[: SkippedRows.EXAMPLES]


@dataclass
class SkippedRows:
    """The rows of a file that were left out.

    Attributes:
        count: number of them.
        first: number in the file and rule of the first ones of each kind.
    """

    EXAMPLES: ClassVar[int] = 3

    count: int = 0
    first: list[tuple[int, str]] = field(default_factory=list)

    def add(self, count: int, first: Sequence[tuple[int, str]]) -> None:
        """Add rows with the number and the rule of the first ones."""
        self.count += count
        self.first += first

    def sentence(self, path: object, rows: int) -> str:
        """Return what was left out, given the number of rows that stay."""
        shown = "; ".join(f"row {row}: {rule}" for row, rule in sorted(self.first)[: self.EXAMPLES])
        more = "; ..." if self.count > self.EXAMPLES else ""
        return f"{self.count:,} of {rows + self.count:,} rows of {path} were left out ({shown}{more})."


@dataclass(frozen=True)
class Report:
    """Where converters report what they find.

    Attributes:
        refuse: raises for a column that cannot be used at all.
        faults: collects rows; None refuses the first.
    """

    refuse: Refuse
    faults: Faults | None = None

    def rows(self, mask: Mask, broken: Callable[[int], Broken]) -> None:
        """Refuse the first row of a mask (n,), or collect its rows.

        Args:
            mask: whether each row breaks a rule.
            broken: returns the rule that the row at a position breaks.
        """
        if self.faults is not None:
            self.faults.add(mask, broken)
        elif mask.any():
            at = int(np.argmax(mask))
            found = broken(at)
            self.refuse(at, found.rule, found.next_step, option=SKIP)
