"""Decides which client each user belongs to."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from dataclasses import dataclass

import pandas as pd

from models.kernel.seeds import generator_for
from tasks.datasets.interaction_tables import Interactions, values_in_rows, values_of_users
from tasks.datasets.tables import Table, refuse

# Columns that describe the interaction, not the user.
_OWN = ("user_id", "item_id", "rating", "timestamp")


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
        InvalidInput: the column does not exist or breaks a rule, a client would be empty, or two clients
            would share an id.
    """
    if isinstance(split, ByChance):
        return _dealt(split, checked, source)
    if isinstance(split, ByUser):
        values, prefix, what = pd.Series(checked.users, index=checked.users), "user-", "user ids"
    else:
        values, prefix, what = _values(split.column, checked, source, users), "", f"values of {split.column}"
    ids = {value: prefix + slug(value) for value in sorted(values.unique())}
    seen: dict[str, str] = {}
    for value, client_id in ids.items():
        if client_id in seen:
            file = users.path if users and isinstance(split, ByColumn) else source.path
            both = f"{seen[client_id]!r} and {value!r}"
            refuse(file, f"the {what} {both} give the same client id {client_id!r}")
        seen[client_id] = value
    return values.map(ids)


def slug(value: str) -> str:
    """Return the value as part of a client id: lower-case ASCII letters, digits, dot, underscore, hyphen."""
    plain = unicodedata.normalize("NFKD", value).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("-.")[:100]
    # A name in another script has no ASCII form, but needs an id that is always the same.
    return name or f"x-{hashlib.sha256(value.encode()).hexdigest()[:12]}"


def _values(column: str, checked: Interactions, source: Table, users: Table | None) -> pd.Series[str]:
    if users and column in users.frame.columns and column not in _OWN:
        return values_of_users(users, column, checked, source)
    if column in source.frame.columns and column not in _OWN:
        return values_in_rows(source, column, checked)
    tables = [table for table in (users, source) if table]
    columns = {table.path: [name for name in table.frame.columns if name not in _OWN] for table in tables}
    listed = "; ".join(f"{path} has {', '.join(names) or 'none'}" for path, names in columns.items())
    refuse(
        tables[0].path,
        f"there is no column {column!r} to partition by ({listed})",
        next_step="" if users else "If it is a column of the users file, give that file with --users.",
        column=column,
    )


def _dealt(split: ByChance, checked: Interactions, source: Table) -> pd.Series[str]:
    count = len(checked.users)
    if split.clients > count:
        rule = f"{split.clients} clients for {count} users would leave {split.clients - count} clients empty"
        refuse(source.path, rule, next_step=f"Use --random {count} or less.")
    # Sorted first, so that the order of the rows does not matter.
    shuffled = checked.users.sort_values()[generator_for(split.seed, "partition").permutation(count)]
    width = max(2, len(str(split.clients)))
    ids = [f"silo-{1 + place % split.clients:0{width}}" for place in range(count)]
    return pd.Series(ids, index=shuffled, dtype="str").reindex(checked.users)
