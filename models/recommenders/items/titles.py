"""Finds titles as people type them: without the year, with the article in front, in any case, in part."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from models.errors import InvalidInput
from models.recommenders.items.name_list import split_names

_YEAR = re.compile(r"\s*\(\d{4}\)\s*$")
_ARTICLE_BEHIND = re.compile(
    r"^(?P<rest>.+),\s*(?P<article>the|a|an|la|le|les|il|el|los|las|der|die|das|l')$", re.I
)
_COMMA = re.compile(r"\s*,\s*")
# As printed in lists of candidates and recommendations.
_LABEL = re.compile(r"(?P<title>.*?)\s*\[id (?P<id>.+)\]", re.DOTALL)
_PLAIN = str.maketrans(
    dict.fromkeys("\u2018\u2019\u02bc\u00b4`", "'")
    | dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"')
    | dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212", "-")
)
_CANDIDATES = 5
_SHORTEST_PART = 3


@dataclass(frozen=True)
class NamedItems:
    """The items that a text names.

    Attributes:
        rows: in the order given, each once.
        unknown: the names that are no item's title or id, in the order given, each once.
        notes: a sentence about each unknown name, and about each id that is also another item's title.
    """

    rows: tuple[int, ...]
    unknown: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class TitleIndex:
    """Finds the rows of items from typed text.

    Attributes:
        item_ids, titles: in row order.
    """

    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    _ids: dict[str, int] = field(repr=False, compare=False)
    _composed: dict[str, list[int]] = field(repr=False, compare=False)
    _exact: dict[str, list[int]] = field(repr=False, compare=False)
    _short: dict[str, list[int]] = field(repr=False, compare=False)
    _bare: dict[str, list[int]] = field(repr=False, compare=False)
    _most_commas: int = field(repr=False, compare=False)

    @classmethod
    def of(cls, item_ids: Sequence[str], titles: Sequence[str]) -> TitleIndex:
        """Return the index of items with these ids and titles, in row order."""
        composed, exact, short, bare = (defaultdict[str, list[int]](list) for _ in range(4))
        for row, (item_id, title) in enumerate(zip(item_ids, titles, strict=True)):
            if not unicodedata.is_normalized("NFC", item_id):
                composed[unicodedata.normalize("NFC", item_id)].append(row)
            exact[_key(title)].append(row)
            for form in {_key(shortened(title)), _key(_YEAR.sub("", title))}:
                short[form].append(row)
            bare[_without_article(title)].append(row)
        commas = [max((text.count(",") for text in texts), default=0) for texts in (item_ids, titles)]
        return cls(
            item_ids=tuple(item_ids),
            titles=tuple(titles),
            _ids={item_id: row for row, item_id in enumerate(item_ids)},
            _composed=dict(composed),
            _exact=dict(exact),
            _short=dict(short),
            _bare=dict(bare),
            # A label has a title and an id. An article may be typed behind a title that has it in front.
            _most_commas=sum(commas) + 1,
        )

    def rows_of(self, history: str) -> list[int]:
        """Return the rows of the items in a comma-separated list, in the order given, each once.

        Raises:
            InvalidInput: the text is empty, or a name in it is no item's or several items'.
        """
        found = self.named(history)
        if found.unknown:
            raise self._no_item(found.unknown[0])
        return list(self.require_known(found).rows)

    def named(self, listed: str, names: Sequence[str] = ()) -> NamedItems:
        """Return the items in a comma-separated list, and those of further single names.

        A title or id may contain commas; `split_names` finds where a name ends.

        Args:
            listed: titles, parts of titles, or ids, separated by commas.
            names: whole titles or ids. They are not split at commas.

        Raises:
            InvalidInput: a name is that of several items.
        """
        split = split_names(listed, self.exactly, self.containing, self._most_commas)
        rows: dict[int, None] = {}
        unknown: dict[str, None] = {}
        notes: dict[str, None] = {}
        found = [(name, self.exactly(name) or self.containing(name)) for name in split]
        for name, those in [*found, *((name, self.exactly(name)) for name in names)]:
            if those:
                rows[self._only(name, those)] = None
                notes |= dict.fromkeys(self._namesakes(name, those[0]))
            else:
                unknown[name] = None
                problem = self._no_item(name)
                notes[f"{problem.what} It is left out. {problem.next_step}"] = None
        return NamedItems(tuple(rows), tuple(unknown), tuple(notes))

    def require_known(self, found: NamedItems) -> NamedItems:
        """Return what was found.

        Raises:
            InvalidInput: it has no item.
        """
        if found.rows:
            return found
        if found.unknown:
            raise self._no_item(found.unknown[0])
        raise InvalidInput("No items are given. Name at least one, by title or by id.")

    def exactly(self, name: str) -> list[int]:
        """Return the rows with this id, label, title, short title or title without article; the first counts.

        Blanks or quotes around the name are ignored if no id has them.
        """
        for form in (name, name.strip(), _unquoted(name.strip())):
            found = self._with_id(form) or self._with_title(form)
            if found:
                return found
        return []

    def containing(self, part: str) -> list[int]:
        """Return the rows whose title begins with this text or, if no title does, contains it.

        A number is no part of a title: it is more likely an id that the model does not know.
        """
        plain = _key(part)
        if len(plain) < _SHORTEST_PART or plain.isdecimal():
            return []
        return self._holding(plain)

    def _with_id(self, text: str) -> list[int]:
        composed = unicodedata.normalize("NFC", text)
        for form in (text, composed):
            if form in self._ids:
                return [self._ids[form]]
        if composed in self._composed:
            return self._composed[composed]
        label = _LABEL.fullmatch(text)
        row = self._ids.get(label["id"]) if label else None
        if label and row is not None and _key(label["title"]) in ("", _key(self.titles[row])):
            return [row]
        return []

    def _with_title(self, text: str) -> list[int]:
        plain = _key(text)
        if not plain:
            return []
        equal = [row for row in self._exact.get(plain, ()) if _composed(self.titles[row]) == _composed(text)]
        return equal or next(
            (
                forms[form]
                for forms, form in (
                    (self._exact, plain),
                    (self._short, plain),
                    (self._short, _key(shortened(text))),
                    (self._bare, plain),
                )
                if form in forms
            ),
            [],
        )

    def _holding(self, plain: str) -> list[int]:
        beginning = {row for form, rows in self._short.items() if form.startswith(plain) for row in rows}
        return sorted(
            beginning or {row for form, rows in self._short.items() if plain in form for row in rows}
        )

    def _namesakes(self, name: str, row: int) -> Iterator[str]:
        """Yield a sentence if a name that is taken as the id of this row is also another item's title."""
        if name.strip() != self.item_ids[row]:
            return
        others = [other for other in self._with_title(name) if other != row]
        if others:
            listed = "; ".join(self._label(other) for other in others[:_CANDIDATES])
            yield f"{name.strip()!r} is the id of {self.titles[row]!r}. It is also a title: {listed}."

    def _only(self, name: str, rows: Sequence[int]) -> int:
        if len(rows) == 1:
            return rows[0]
        labels = [self._label(row) for row in rows[:_CANDIDATES]]
        raise InvalidInput(
            f"In the given items, {name!r} names {len(rows)} items.",
            next_step=f"Use one of their full titles or ids: {'; '.join(labels)}",
            text=name,
            candidates=labels,
        )

    def _no_item(self, name: str) -> InvalidInput:
        labels = [self._label(row) for row in self._close_to(name)]
        return InvalidInput(
            f"In the given items, {name!r} is no item's title or id.",
            next_step=f"Did you mean: {'; '.join(labels)}"
            if labels
            else "Give a title or an id of the catalogue.",
            text=name,
            candidates=labels,
        )

    def _close_to(self, name: str) -> list[int]:
        plain, key = _key(shortened(name)), _key(name)
        written_otherwise = [row for item_id, row in self._ids.items() if _key(item_id) == key]
        holding = self._holding(plain) if len(plain) >= _SHORTEST_PART else []
        forms = difflib.get_close_matches(plain, self._short, n=_CANDIDATES, cutoff=0.5)
        similar = (row for form in forms for row in self._short[form])
        return list(dict.fromkeys([*written_otherwise, *holding, *similar]))[:_CANDIDATES]

    def _label(self, row: int) -> str:
        return f"{self.titles[row]} [id {self.item_ids[row]}]"


def shortened(title: str) -> str:
    """Return a title in lower case and plain letters, without its year and with its article in front.

    "Usual Suspects, The (1995)" becomes "the usual suspects".
    """
    short = _YEAR.sub("", folded(title))
    moved = _ARTICLE_BEHIND.match(short)
    return f"{moved['article']} {moved['rest']}" if moved else short


def folded(text: str) -> str:
    """Return a text in lower case, without accents, with single spaces and with plain quotes and dashes."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(plain.translate(_PLAIN).casefold().split())


def _without_article(title: str) -> str:
    short = _YEAR.sub("", folded(title))
    moved = _ARTICLE_BEHIND.match(short)
    return _key(moved["rest"] if moved else short)


def _key(text: str) -> str:
    """Return a text folded, without blanks beside its commas."""
    return _COMMA.sub(",", folded(text))


def _composed(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _unquoted(text: str) -> str:
    """Return a text without the quotes around it; empty if there are none."""
    plain = text.translate(_PLAIN)
    return text[1:-1] if len(text) > 1 and plain[0] == plain[-1] and plain[0] in "\"'" else ""
