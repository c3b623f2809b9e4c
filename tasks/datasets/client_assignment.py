"""Decides which client each user belongs to."""

from __future__ import annotations

import hashlib
import re
import shlex
import unicodedata
from dataclasses import dataclass

import pandas as pd

from models.kernel.seeds import generator_for
from tasks.datasets.interaction_tables import Interactions, values_in_rows, values_of_users
from tasks.tables.table import Table, nearest, refuse

# Columns that describe the interaction, not the user.
_OWN = ("user_id", "item_id", "rating", "timestamp")
_MOST_LETTERS = 100
# 48 bits: two of a million values share a hash with a probability of 1 in 500.
_DIGITS = 12
_HASHED = re.compile(rf"(?:^|-)x-[0-9a-f]{{{_DIGITS}}}$")


@dataclass(frozen=True)
class ByColumn:
    """One client per value of a column of the users file, or else of the interactions."""

    column: str

    def __str__(self) -> str:
        return f"column:{self.column}"


@dataclass(frozen=True)
class ByUser:
    """One client per user."""

    def __str__(self) -> str:
        return "user"


@dataclass(frozen=True)
class ByChance:
    """Users distributed at random over a number of clients of nearly equal size; the seed decides."""

    clients: int
    seed: int = 0

    def __str__(self) -> str:
        return f"random:{self.clients}:seed={self.seed}"


Split = ByColumn | ByUser | ByChance


def assign_clients(split: Split, checked: Interactions, source: Table, users: Table | None) -> pd.Series[str]:
    """Return each user's client id, in the order of `checked.users`.

    Args:
        split: how users become clients.
        checked: the interactions.
        source: the file that the interactions came from.
        users: the users file, if there is one.

    Raises:
        InvalidInput: the column does not exist or breaks a rule, or a client would be empty.
    """
    require_split(split, source, users)
    if isinstance(split, ByChance):
        return _at_random(split, checked, source)
    if isinstance(split, ByUser):
        values, prefix = pd.Series(checked.users, index=checked.users), "user-"
    else:
        values, prefix = _values(split.column, checked, source, users), ""
    return values.map({value: prefix + slug(value) for value in values.unique()})


def require_split(split: Split, source: Table, users: Table | None) -> None:
    """Raise `InvalidInput` unless the column that a split names exists; it looks at no row."""
    tables = [table for table in (users, source) if table]
    if not isinstance(split, ByColumn):
        return
    columns = {table.path: [name for name in table.columns if name not in _OWN] for table in tables}
    every = [name for names in columns.values() for name in names]
    if split.column in every:
        return
    listed = "; ".join(f"{path} has {', '.join(names) or 'none'}" for path, names in columns.items())
    near = nearest(split.column, every)
    steps = [f"Did you mean --by {shlex.quote(near)}?"] if near else []
    if not users:
        steps.append("If it is a column of the users file, give that file with --users.")
    refuse(
        tables[0].path,
        f"there is no column {split.column!r} to partition by ({listed})",
        next_step=" ".join(steps),
        column=split.column,
    )


def slug(value: str) -> str:
    """Return the value as part of a client id: lower-case ASCII letters, digits, dot, underscore, hyphen.

    A value that is such a text stays as it is. For any other value, a hash of the value follows what is left
    of it, so that different values have different ids, also in a file system that ignores case. The id
    depends on this value alone: further users do not change it.
    """
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-.")[:_MOST_LETTERS].rstrip("-.")
    if name == value and not _HASHED.search(name):
        return name
    digest = hashlib.sha256(value.encode()).hexdigest()[:_DIGITS]
    return f"{name}-x-{digest}" if name else f"x-{digest}"


def _values(column: str, checked: Interactions, source: Table, users: Table | None) -> pd.Series[str]:
    if users and column in users.columns and column not in _OWN:
        return values_of_users(users, column, checked, source)
    return values_in_rows(source, column, checked)


def _at_random(split: ByChance, checked: Interactions, source: Table) -> pd.Series[str]:
    count = len(checked.users)
    if split.clients > count:
        rule = f"{split.clients} clients for {count} users would leave {split.clients - count} clients empty"
        refuse(source.path, rule, next_step=f"Use --random {count} or less.")
    # Sorted first, so that the order of the rows does not matter.
    shuffled = checked.users.sort_values()[generator_for(split.seed, "partition").permutation(count)]
    width = max(2, len(str(split.clients)))
    ids = [f"silo-{1 + place % split.clients:0{width}}" for place in range(count)]
    return pd.Series(ids, index=shuffled, dtype="str").reindex(checked.users)
