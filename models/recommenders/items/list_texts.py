"""Lists that a table holds as text, as Python, JSON, numpy, Spark and PostgreSQL write them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import cast

MISSING_WORDS = frozenset(
    {"", "nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nil", "nat", "unknown", "-", "--", "?"}
)
# Those of them that programs write for missing values; people may write the others as names.
NULL_WORDS = frozenset({"", "nan", "n/a", "#n/a", "<na>", "null", "none", "nat"})
_ENDS = {"[": "]", "{": "}", "(": ")"}
_ENTRY = re.compile(
    r"""\s*(?:'(?P<single>(?:[^'\\]|\\.)*)'|"(?P<double>(?:[^"\\]|\\.)*)"|(?P<bare>[^\s,'"\[\]{}()][^,\[\]{}]*))?\s*""",
    re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|.)", re.DOTALL)
_CHARACTERS = {"n": " ", "r": " ", "t": " ", "b": "\b", "f": "\f"}
_NUMBERS = re.compile(r"[\d.+\-eE]+(?:\s+[\d.+\-eE]+)+")
_CALL = re.compile(r"""\w\(['"]""")
_KEY = re.compile(r"\w+\s*:")


def is_list(text: str) -> bool:
    """Return whether a text is written between the brackets of a list."""
    return len(text) > 1 and _ENDS.get(text[0]) == text[-1]


def entries_of(text: str) -> list[str]:
    """Return the entries of a list that is written as text, in their order, without missing ones.

    Entries are in quotes or not, separated by commas. Entries in quotes, and numbers, may also be separated
    by blanks, as numpy prints them.

    Raises:
        ValueError: the text is not a flat list of texts and numbers.
    """
    inner, at, found = text[1:-1], 0, list[str]()
    while at < len(inner):
        # Every part of the pattern is optional, so there is a match.
        entry = cast(re.Match[str], _ENTRY.match(inner, at))
        at = entry.end()
        quoted = entry["single"] if entry["single"] is not None else entry["double"]
        if quoted is None:
            found += _bare(entry["bare"] or "", in_braces=text[0] == "{")
        else:
            found.append(_unescaped(quoted).strip())
        if inner[at : at + 1] == ",":
            at += 1
        elif at < len(inner) and not (quoted is not None and inner[at] in "'\""):
            raise ValueError(f"{text[:60]!r} is not a flat list of texts or numbers")
    return [each for each in found if each]


def number_text(number: float | Decimal) -> str:
    """Return a number as a label: without a point if it is whole."""
    return str(int(number)) if number == int(number) else repr(float(number))


def _bare(entry: str, *, in_braces: bool) -> list[str]:
    entry = entry.strip()
    if _CALL.search(entry) or (in_braces and _KEY.match(entry)):
        raise ValueError(f"{entry[:60]!r} is neither a text nor a number")
    if entry.lower() in MISSING_WORDS - {"unknown"}:
        return []
    if entry.lower() in ("true", "false"):
        return [entry.lower()]
    return entry.split() if _NUMBERS.fullmatch(entry) else [entry]


def _unescaped(text: str) -> str:
    if "\\" not in text:
        return text
    plain = _ESCAPE.sub(lambda found: _character(found[1]), text)
    # JSON writes a character beyond the first plane as two escapes.
    return plain.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _character(code: str) -> str:
    return chr(int(code[1:], 16)) if len(code) > 1 else _CHARACTERS.get(code, code)
