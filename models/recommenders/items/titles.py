"""Finds titles as people type them: without the year, with the article in front, in any case, in part."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.errors import InvalidInput

_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE_BEHIND = re.compile(
    r"^(?P<rest>.+), (?P<article>the|a|an|la|le|les|il|el|los|las|der|die|das|l')$", re.I
)
_CANDIDATES = 5
_SHORTEST_PART = 3


@dataclass(frozen=True)
class TitleIndex:
    """Finds the row of an item from typed text.

    Attributes:
        item_ids, titles: in row order.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    _ids: dict[str, int] = field(repr=False, compare=False)
    _exact: dict[str, list[int]] = field(repr=False, compare=False)
    _short: dict[str, list[int]] = field(repr=False, compare=False)
    _bare: dict[str, list[int]] = field(repr=False, compare=False)

    @classmethod
    def of(cls, item_ids: Sequence[str], titles: Sequence[str]) -> TitleIndex:
        """Return the index of items with these ids and titles, in row order."""
        exact, short, bare = defaultdict(list), defaultdict(list), defaultdict(list)
        for row, title in enumerate(titles):
            exact[folded(title)].append(row)
            for form in {shortened(title), folded(_YEAR.sub("", title))}:
                short[form].append(row)
            bare[_without_article(title)].append(row)
        return cls(
            item_ids=tuple(item_ids),
            titles=tuple(titles),
            _ids={item_id: row for row, item_id in enumerate(item_ids)},
            _exact=dict(exact),
            _short=dict(short),
            _bare=dict(bare),
        )

    def rows_of(self, history: str) -> list[int]:
        """Return the rows of the items in a comma-separated history, in the order given, each once.

        A title may contain commas. So at each piece, the longest run of pieces that names an item exactly is
        used. Only a piece that starts no exact name is searched for as a part of a title.

        Raises:
            InvalidInput: the text is empty, or a piece names no item or several.
        """
        pieces = [piece.strip() for piece in history.split(",")]
        rows: list[int] = []
        start = 0
        while start < len(pieces):
            if not pieces[start]:
                start += 1
                continue
            end, row = self._longest_from(pieces, start)
            rows.append(row)
            start = end
        if not rows:
            raise InvalidInput("No items are given. Name at least one, by title or by id.")
        return list(dict.fromkeys(rows))

    def _longest_from(self, pieces: Sequence[str], start: int) -> tuple[int, int]:
        for end in range(len(pieces), start, -1):
            found = self._named(", ".join(pieces[start:end]))
            if found:
                return end, self._only(", ".join(pieces[start:end]), found)
        text = pieces[start]
        return start + 1, self._only(text, self._containing(text))

    def _named(self, text: str) -> list[int]:
        """Return the rows with this id, title, short title or title without article; the first counts."""
        if text in self._ids:
            return [self._ids[text]]
        plain = folded(text)
        for forms, form in (
            (self._exact, plain),
            (self._short, plain),
            (self._short, shortened(text)),
            (self._bare, plain),
        ):
            if form in forms:
                return forms[form]
        return []

    def _containing(self, text: str) -> list[int]:
        """Return the rows whose title begins with this text or, if no title does, contains it."""
        plain = folded(text)
        if len(plain) < _SHORTEST_PART:
            return []
        beginning = {row for form, rows in self._short.items() if form.startswith(plain) for row in rows}
        return sorted(
            beginning or {row for form, rows in self._short.items() if plain in form for row in rows}
        )

    def _only(self, text: str, rows: Sequence[int]) -> int:
        if len(rows) == 1:
            return rows[0]
        close = [self._label(row) for row in (rows[:_CANDIDATES] if rows else self._close_to(text))]
        listed = "; ".join(close)
        what = f"names {len(rows)} items" if rows else "is no item's title or id"
        raise InvalidInput(
            f"In the given items, {text!r} {what}.",
            next_step=f"{'Use one of their full titles or ids' if rows else 'Did you mean'}: {listed}"
            if close
            else "Give a title or an id of the catalogue.",
            text=text,
            candidates=close,
        )

    def _close_to(self, text: str) -> list[int]:
        forms = difflib.get_close_matches(shortened(text), self._short, n=_CANDIDATES, cutoff=0.5)
        return list(dict.fromkeys(row for form in forms for row in self._short[form]))[:_CANDIDATES]

    def _label(self, row: int) -> str:
        return f"{self.titles[row]} [id {self.item_ids[row]}]"


def shortened(title: str) -> str:
    """Return a title in lower case and plain letters, without its year and with its article in front.

    "Usual Suspects, The (1995)" becomes "the usual suspects".
    """
    short = _YEAR.sub("", folded(title))
    moved = _ARTICLE_BEHIND.match(short)
    return f"{moved['article']} {moved['rest']}" if moved else short


def _without_article(title: str) -> str:
    short = _YEAR.sub("", folded(title))
    moved = _ARTICLE_BEHIND.match(short)
    return moved["rest"] if moved else short


def folded(text: str) -> str:
    """Return a text in lower case, without accents, with single spaces."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(plain.casefold().split())
