"""Splits a comma-separated list of names that may contain commas themselves."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

# A run is one or more adjacent pieces between commas, as the numbers of its first and of the piece after it.
_Run = tuple[int, int]
# Of several names: the number of those that name no item, of those that are a part of a title, and of all.
_Cost = tuple[int, int, int]
# The two sides of a comma that groups the digits of a number.
_THOUSANDS = re.compile(r"(?<!\d)\d{1,3}$"), re.compile(r"^\d{3}(?!\d)")

Find = Callable[[str], Sequence[int]]


def split_names(text: str, exactly: Find, containing: Find, most_commas: int) -> list[str]:
    """Return the names in a comma-separated list, without blanks around them unless they need them.

    The list is split where as few pieces as possible name no item; then where as few names as possible are
    only a part of a title; then into as few names as possible. A bare number beside words that name no item
    may belong to the same unknown title, as in "20,000 Leagues" and "7, Rue Morgue", so both stay one name.

    Args:
        text: the list.
        exactly: returns the rows of the items with this id or title.
        containing: returns the rows of the items whose titles contain this text.
        most_commas: the largest number of commas in a name.
    """
    if exactly(text):
        return [text]
    splitter = _Splitter(text, exactly, containing, most_commas + 1)
    return [splitter.text_of(run) for run in splitter.runs()]


@dataclass
class _Splitter:
    text: str
    exactly: Find
    containing: Find
    longest: int
    _pieces: list[tuple[int, int]] = field(init=False)
    _is_exact: dict[_Run, bool] = field(init=False, default_factory=dict)
    _is_part: dict[_Run, bool] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        found = (match.span() for match in re.finditer("[^,]+", self.text))
        self._pieces = [(start, end) for start, end in found if self.text[start:end].strip()]

    def runs(self) -> list[_Run]:
        """Return the runs that are names, in their order."""
        runs = self._cheapest(frozenset())
        # Searching for parts of titles is slow, so it is done only around pieces that name nothing.
        nameless = frozenset(run[0] for run in runs if not self.is_exact(run))
        return self._joined(self._cheapest(nameless) if nameless else runs)

    def text_of(self, run: _Run) -> str:
        whole = self.text[self._pieces[run[0]][0] : self._pieces[run[1] - 1][1]]
        return whole.strip() if self.exactly(whole.strip()) or not self.exactly(whole) else whole

    def is_exact(self, run: _Run) -> bool:
        if run not in self._is_exact:
            self._is_exact[run] = bool(self.exactly(self.text_of(run)))
        return self._is_exact[run]

    def is_part(self, run: _Run) -> bool:
        if run not in self._is_part:
            self._is_part[run] = bool(self.containing(self.text_of(run)))
        return self._is_part[run]

    def _cheapest(self, nameless: frozenset[int]) -> list[_Run]:
        """Return the best runs. Only a run with one of these pieces may be a part of a title."""
        count = len(self._pieces)
        # For each piece: the cost from there to the end, and the end of its run.
        best: list[tuple[_Cost, int]] = [((0, 0, 0), count)] * (count + 1)
        for start in reversed(range(count)):
            options = []
            for end in range(min(start + self.longest, count), start, -1):
                cost = self._cost((start, end), nameless)
                if cost is not None:
                    rest = best[end][0]
                    options.append(((cost[0] + rest[0], cost[1] + rest[1], cost[2] + rest[2]), end))
            # The first, which is the longest, of equal ones.
            best[start] = min(options, key=lambda option: option[0])
        runs: list[_Run] = []
        start = 0
        while start < count:
            runs.append((start, best[start][1]))
            start = best[start][1]
        return runs

    def _cost(self, run: _Run, nameless: frozenset[int]) -> _Cost | None:
        if self.is_exact(run):
            return 0, 0, 1
        if not nameless.isdisjoint(range(*run)) and self.is_part(run):
            return 0, 1, 1
        return (1, 0, 1) if run[1] == run[0] + 1 else None

    def _joined(self, runs: Sequence[_Run]) -> list[_Run]:
        """Return the runs, with bare numbers joined to the words beside them that name no item."""
        joined: list[_Run] = []
        for run in runs:
            joined.append(run)
            while len(joined) > 1 and self._may_be_one_title(joined[-2], joined[-1]):
                joined[-2:] = [(joined[-2][0], joined[-1][1])]
        return joined

    def _may_be_one_title(self, left: _Run, right: _Run) -> bool:
        before, after = (self.text[slice(*self._pieces[number])] for number in (left[1] - 1, right[0]))
        is_cut = bool(_THOUSANDS[0].search(before) and _THOUSANDS[1].search(after))
        # A comma within a title is followed by a blank.
        if not (is_cut or after[0].isspace()):
            return False
        for number, words in ((left, right), (right, left)):
            beside = self.text_of(words)
            if self.text_of(number).isdecimal() and not beside.isdecimal() and (is_cut or " " in beside):
                return not (self.is_exact(words) or self.is_part(words))
        return False
