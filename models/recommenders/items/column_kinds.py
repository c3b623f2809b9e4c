"""Judges what a column of an item catalogue holds: numbers, dates, labels, or nothing of use.

A column is judged once, when a partition is made. A value means the same in a text file and in a typed one,
so typed values are judged by how they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import isinf
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from models.recommenders.items.cells import EXACT_WHOLE, ColumnRefused, Labels, as_written, distinct
from models.recommenders.items.list_texts import MISSING_WORDS, NULL_WORDS, entries_of, is_list
from models.recommenders.items.separators import SEPARATORS, separates

Kind = Literal["numbers", "dates", "labels", "text", "identifiers", "vectors", "empty"]
NO_SPLIT = "none"

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?|[+-]?inf(?:inity)?", re.IGNORECASE | re.ASCII)
_CODE = re.compile(r"0\d+", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_MONEY = r"(?:[$€£¥₹%]|EUR|USD|GBP|CHF|JPY)"
# 1.299,00 or $12.99 or 12,5%: a person reads it as a number, but a parser of numbers does not.
_DIGITS = rf"(?:{_MONEY}\s*)?[+-]?\s?(?:{_MONEY}\s*)?\d+(?:[.,'\s]\d{{3}})*(?:[.,]\d+)?\s*{_MONEY}?-?"
# In books, (5) is -5, and so is 5-.
_PRINTED = re.compile(rf"{_DIGITS}|{_MONEY}?\s?\({_DIGITS}\)\s?{_MONEY}?", re.ASCII)
# Between the numbers of a text such as "0.12 0.5 -1".
_BETWEEN = re.compile(r"[\s,;|]+", re.ASCII)
_DATE = re.compile(r"(\d{4})-(\d{2})-(\d{2})(?:[T ].*)?", re.ASCII | re.DOTALL)
_WORD = re.compile(r"\S*[^\W\d_]\S*")
# At least this share of a column must have one form before the others are called mistakes.
_MOSTLY = 0.9
_WORDS_OF_A_LABEL = 5
_LENGTH_OF_A_LABEL = 60
# A list of so many whole numbers, in every item, is measured.
_LONG_VECTOR = 16
# Among fewer items, labels that no two of them share are no surprise.
_MANY_ITEMS = 100

Value = TypeVar("Value")


@dataclass(frozen=True)
class JudgedColumn:
    """A column's kind and values, one per item.

    Attributes:
        kind: "numbers", "dates" and "labels" are used. "text" is prose, "identifiers" are labels that no two
            items share, "vectors" are lists of measured numbers such as embeddings, and "empty" has no value;
            these are left out.
        numbers: (items,) float64 of numbers and dates, NaN where missing. A date is year, month and day as
            one number, such as 19950321.
        labels: the distinct labels of each item, if the kind is "labels".
        separator: where text was split into labels.
        unsplit: a separator that the text has but that belongs to its labels, and the number of its cells.
        missing: number of items without a value.
    """

    kind: Kind
    missing: int
    numbers: npt.NDArray[np.float64] | None = None
    labels: tuple[Labels, ...] | None = None
    separator: str | None = None
    unsplit: tuple[str, int] | None = None


def judge_column(cells: Sequence[Any], split: str | None = None) -> JudgedColumn:
    """Return the kind and the values of a column.

    - Texts that are all numbers are numbers. Codes such as "007" are labels, and so are whole numbers that
      are too great for a float.
    - Texts that are all ISO 8601 dates are dates.
    - Lists are labels, also lists that are written as text, such as "['Action', 'Comedy']".
    - Other text is split into labels at "|", else at commas, if these separate labels; see `separates`. It is
      never split at blanks. Long texts, most of which differ, are prose.
    - Words such as "null", which programs write for missing values, are missing.
    - Lists of measured numbers are vectors.

    Args:
        cells: (items,) values as a table has them.
        split: "none" if each cell, or each entry of a list, is one label; another text to split at that; or
            None to judge.

    Raises:
        ColumnRefused: the column holds bytes, structures or other things, infinite numbers, or a mixture.
    """
    written = [as_written(cell, position) for position, cell in enumerate(cells)]
    lists = {position: cell for position, cell in enumerate(written) if isinstance(cell, tuple)}
    texts = {at: cell for at, cell in enumerate(written) if isinstance(cell, str) and not _is_null(cell)}
    items = len(written)
    if lists:
        return _lists(items, lists, texts, split)
    if not texts:
        return JudgedColumn("empty", items)
    if split is not None:
        return _split(items, _without_points(texts), None if split == NO_SPLIT else split)
    for judge in (_as_truths, _as_numbers, _as_dates, _as_lists):
        judged = judge(items, texts)
        if judged is not None:
            return judged
    return _as_text(items, texts)


def _lists(items: int, lists: dict[int, Labels], texts: dict[int, str], split: str | None) -> JudgedColumn:
    if split not in (None, NO_SPLIT):
        raise ColumnRefused(f"holds lists, so it cannot be split at {split!r}")
    for position, text in texts.items():
        raise ColumnRefused(f"holds lists, but also {text[:60]!r}", position)
    return _listed(items, lists, is_forced=split == NO_SPLIT)


def _listed(items: int, lists: dict[int, Labels], *, is_forced: bool = False) -> JudgedColumn:
    present = {at: [label for label in own if not _is_null(label)] for at, own in lists.items()}
    judged = _labels([distinct(present.get(position, ())) for position in range(items)], None)
    if not is_forced and _are_vectors([own for own in present.values() if own]):
        return JudgedColumn("vectors", judged.missing)
    return (
        judged
        if is_forced
        else _useful(judged, [label for own in judged.labels or () for label in own], None)
    )


def _are_vectors(lists: Sequence[Sequence[str]]) -> bool:
    """Return whether all lists are numbers that were measured, as those of an embedding, and not labels.

    Measured numbers have fractions, and each item has as many of them, or many of them mostly differ. Whole
    ones are measured if each item has equally many, and that is a great number.
    """
    every = [entry for own in lists for entry in own]
    if len(every) == len(lists) or not all(_NUMBER.fullmatch(entry) for entry in every):
        return False
    has_one_length = len({len(own) for own in lists}) == 1
    if all(_WHOLE.fullmatch(entry) for entry in every):
        return has_one_length and len(lists[0]) >= _LONG_VECTOR
    return has_one_length or (len(every) >= _MANY_ITEMS and 2 * len(set(every)) > len(every))


def _labels(labels: Sequence[Labels], separator: str | None) -> JudgedColumn:
    missing = sum(not own for own in labels)
    if missing == len(labels):
        return JudgedColumn("empty", missing)
    return JudgedColumn("labels", missing, labels=tuple(labels), separator=separator)


def _split(items: int, texts: dict[int, str], separator: str | None) -> JudgedColumn:
    found: list[Labels] = [()] * items
    for position, text in texts.items():
        parts = [text] if separator is None else text.split(separator)
        found[position] = distinct(part.strip() for part in parts if not _is_null(part.strip()))
    return _labels(found, separator)


def _is_null(text: str) -> bool:
    return text.lower() in NULL_WORDS


def _without_points(texts: dict[int, str]) -> dict[int, str]:
    """Return the texts, but whole numbers without ".0": a program wrote that where the column has gaps."""
    if not all(_NUMBER.fullmatch(text) for text in texts.values()):
        return texts
    return {position: re.sub(r"\.0+$", "", text) for position, text in texts.items()}


def _parsed(
    texts: dict[int, str], parse: Callable[[str], Value | None], what: str
) -> dict[int, Value] | None:
    """Return what the texts mean, without words for missing values; None unless all of them have the form.

    Raises:
        ColumnRefused: nearly all of them have the form, but not all.
    """
    values = {position: parse(text) for position, text in texts.items()}
    found = {position: value for position, value in values.items() if value is not None}
    others = [at for at in texts if at not in found and texts[at].lower() not in MISSING_WORDS]
    if not found or len(found) < _MOSTLY * (len(found) + len(others)):
        return None
    if others:
        every = len(found) + len(others)
        raise ColumnRefused(
            f"holds {what} in {len(found):,} of {every:,} cells, but not {texts[others[0]][:60]!r}", others[0]
        )
    return found


def _as_truths(items: int, texts: dict[int, str]) -> JudgedColumn | None:
    words = {position: text.lower() for position, text in texts.items()}
    return _split(items, words, None) if set(words.values()) <= {"true", "false"} else None


def _as_numbers(items: int, texts: dict[int, str]) -> JudgedColumn | None:
    found = _parsed(texts, lambda text: text if _NUMBER.fullmatch(text) else None, "numbers")
    if found is None:
        _require_unprinted(texts)
        return None
    if any(_CODE.fullmatch(text) or _is_inexact(text) for text in found.values()):
        return _useful(_split(items, found, None), list(found.values()), None)
    numbers = {position: float(text) for position, text in found.items()}
    for position, number in numbers.items():
        if isinf(number):
            raise ColumnRefused("holds an infinite number", position)
    return _numbers("numbers", items, numbers)


def _is_inexact(text: str) -> bool:
    """Return whether a whole number is so great that a float would make it equal to others."""
    return bool(_WHOLE.fullmatch(text)) and (
        len(text) > len(f"-{EXACT_WHOLE}") or abs(int(text)) >= EXACT_WHOLE
    )


def _require_unprinted(texts: dict[int, str]) -> None:
    """Raise `ColumnRefused` if all texts are numbers as a person writes them, with "$" or a comma."""
    known = {at: text for at, text in texts.items() if text.lower() not in MISSING_WORDS}
    if known and all(_PRINTED.fullmatch(text) for text in known.values()):
        at = next(at for at, text in known.items() if not _NUMBER.fullmatch(text))
        raise ColumnRefused(
            f"seems to hold numbers, but {known[at]!r} has more than digits and a decimal point",
            at,
        )


def _as_dates(items: int, texts: dict[int, str]) -> JudgedColumn | None:
    found = _parsed(texts, _day, "dates")
    return None if found is None else _numbers("dates", items, found)


def _day(text: str) -> float | None:
    """Return year, month and day as one number, as they are written, or None if that is not a date."""
    found = _DATE.fullmatch(text)
    if found is None:
        return None
    try:
        np.datetime64(text[:10])
    except ValueError:
        return None
    return float("".join(found.groups()))


def _numbers(kind: Kind, items: int, values: dict[int, float]) -> JudgedColumn:
    numbers = np.full(items, np.nan)
    numbers[list(values)] = list(values.values())
    # A typed zero is written without a sign.
    numbers += 0.0
    return JudgedColumn(kind, items - len(values), numbers=numbers)


def _as_lists(items: int, texts: dict[int, str]) -> JudgedColumn | None:
    found = _parsed(texts, lambda text: text if is_list(text) else None, "lists")
    if found is None:
        return None
    lists: dict[int, Labels] = {}
    for position, text in found.items():
        try:
            lists[position] = tuple(entries_of(text))
        except ValueError as error:
            raise ColumnRefused(f"holds lists as text, but {error}", position) from error
    return _listed(items, lists)


def _as_text(items: int, texts: dict[int, str]) -> JudgedColumn:
    if _are_vectors([_BETWEEN.split(text) for text in texts.values()]):
        return JudgedColumn("vectors", items - len(texts))
    distinct_texts = set(texts.values())
    used = [each for each in SEPARATORS if any(each in text for text in distinct_texts)]
    separator = next((each for each in used if separates(each, distinct_texts)), None)
    judged = _useful(_split(items, texts, separator), list(texts.values()), separator)
    if separator or not used or judged.kind != "labels":
        return judged
    return replace(judged, unsplit=(used[0], sum(used[0] in text for text in texts.values())))


def _useful(judged: JudgedColumn, texts: Sequence[str], separator: str | None) -> JudgedColumn:
    """Return the labels unless they say nothing about what items have in common.

    Args:
        judged: the labels.
        texts: what they were made from, at least one.
        separator: where these were split.
    """
    every = [label for own in judged.labels or () for label in own]
    differ = 2 * len(set(texts)) > len(texts)
    if differ and 2 * sum(_is_prose(text, separator) for text in texts) > len(texts):
        return JudgedColumn("text", judged.missing)
    if len(judged.labels or ()) - judged.missing >= _MANY_ITEMS and len(set(every)) == len(every):
        return JudgedColumn("identifiers", judged.missing)
    return judged


def _is_prose(text: str, separator: str | None) -> bool:
    """Return whether a text is longer than labels are: a sentence, several lines, or an address."""
    words, parts = len(_WORD.findall(text)), 1 + (text.count(separator) if separator else 0)
    return (
        words > _WORDS_OF_A_LABEL * parts
        or len(text) > _LENGTH_OF_A_LABEL * parts
        or (words >= _WORDS_OF_A_LABEL and text[-1] in ".!?…")
        or "\n" in text
        or "://" in text[:9]
    )
