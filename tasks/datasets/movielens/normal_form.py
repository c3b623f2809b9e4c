"""Converts either publication of MovieLens-100K to one normal form.

Harper and Konstan 2015, "The MovieLens Datasets: History and Context", doi:10.1145/2827872.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence

# In form 1, genres were separated by blanks.
FORM = 2
INTERACTIONS, ITEMS, USERS = "interactions.csv", "items.csv", "users.csv"

# The order of the flag columns of u.item, as u.genre lists them.
GENRES = (
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)
_HEADERS = {
    INTERACTIONS: ("user_id", "item_id", "rating", "timestamp"),
    ITEMS: ("item_id", "title", "year", "genres"),
    USERS: ("user_id", "age", "gender", "occupation", "zip_code"),
}
_YEAR = re.compile(r"\((\d{4})\)")


def from_grouplens(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the three normal files from GroupLens' u.data, u.item and u.user, rows in the same order.

    Raises:
        ValueError: a row has another form.
        KeyError: a member is missing.
    """
    items = []
    # The archive is Latin-1; titles have accents.
    for item_id, title, _released, _video, _url, *flags in _rows(members["u.item"], "|", "latin-1"):
        genres = "|".join(genre for genre, flag in zip(GENRES, flags, strict=True) if flag == "1")
        items.append((item_id, *_title_and_year(title), genres))
    return {
        INTERACTIONS: _csv(INTERACTIONS, _rows(members["u.data"], "\t", "latin-1")),
        ITEMS: _csv(ITEMS, items),
        USERS: _csv(USERS, _rows(members["u.user"], "|", "latin-1")),
    }


def from_recbole(members: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the three normal files from RecBole's .inter, .item and .user, rows in the same order.

    Raises:
        ValueError: a row has another form.
        KeyError: a member is missing.
    """
    items = []
    for item_id, title, year, genres in _rows(members["ml-100k.item"], "\t", "utf-8")[1:]:
        # RecBole separates genres by blanks; none of them contains one.
        items.append((item_id, *_title_and_year(_whole_title(title, year)), "|".join(genres.split())))
    return {
        INTERACTIONS: _csv(INTERACTIONS, _rows(members["ml-100k.inter"], "\t", "utf-8")[1:]),
        ITEMS: _csv(ITEMS, items),
        USERS: _csv(USERS, _rows(members["ml-100k.user"], "\t", "utf-8")[1:]),
    }


def with_bars(items: bytes) -> bytes:
    """Return items.csv of form 1 in today's form.

    Raises:
        ValueError: the file has another form.
    """
    header, *rows = csv.reader(io.StringIO(items.decode(), newline=""))
    if tuple(header) != _HEADERS[ITEMS]:
        raise ValueError(f"the columns are {header}, expected {_HEADERS[ITEMS]}")
    return _csv(ITEMS, [(*others, "|".join(genres.split())) for *others, genres in rows])


def _whole_title(title: str, year: str) -> str:
    """Return the title as GroupLens prints it; RecBole moved its last bracket to the year."""
    # Item 267 has no title; RecBole misspells that.
    return "unknown" if title == "unkonwn" else f"{title} ({year})"


def _title_and_year(title: str) -> tuple[str, str]:
    years = _YEAR.findall(title)
    return " ".join(title.split()), years[-1] if years else ""


def _rows(data: bytes, delimiter: str, encoding: str) -> list[list[str]]:
    # Not splitlines(), which would also split Latin-1 text at control characters such as 0x85.
    lines = data.decode(encoding).replace("\r\n", "\n").removesuffix("\n").split("\n")
    return [line.split(delimiter) for line in lines]


def _csv(name: str, rows: Iterable[Sequence[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    header = _HEADERS[name]
    writer.writerow(header)
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f"a row of {name} has {len(row)} values, expected {len(header)}: {row}")
        writer.writerow(row)
    return text.getvalue().encode()
