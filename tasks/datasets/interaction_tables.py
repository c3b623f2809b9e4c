"""Checks the tables that a partition is made from; the first broken rule raises."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.tables.distinct_rows import distinct_rows, without
from tasks.tables.faults import Faults, SkippedRows
from tasks.tables.table import Table, first


@dataclass(frozen=True)
class Interactions:
    """Checked interactions, n rows in the order of their source.

    Attributes:
        users, items: distinct ids in order of appearance.
        user_codes, item_codes: (n,) position of each row's id in `users` and `items`.
        ratings: (n,) float64, or None if the source has none.
        timestamps: (n,) int64 seconds since 1970 (UTC), or None if the source has none.
    """

    users: pd.Index[str]
    items: pd.Index[str]
    user_codes: npt.NDArray[np.int64]
    item_codes: npt.NDArray[np.int64]
    ratings: npt.NDArray[np.float64] | None
    timestamps: npt.NDArray[np.int64] | None


def check_interactions(table: Table) -> Interactions:
    """Return the interactions of a table with user_id and item_id, and optionally rating and timestamp.

    Raises:
        InvalidInput: a column is missing, or a value is empty or cannot be parsed.
    """
    table.require_columns(["user_id", "item_id"])
    user_codes, users = pd.factorize(table.ids("user_id"))
    item_codes, items = pd.factorize(table.ids("item_id"))
    return Interactions(
        users=users,
        items=items,
        user_codes=user_codes,
        item_codes=item_codes,
        ratings=table.finite("rating") if "rating" in table.columns else None,
        timestamps=table.seconds("timestamp") if "timestamp" in table.columns else None,
    )


def require_no_repeats(table: Table, interactions: Interactions, next_step: str) -> None:
    """Raise `InvalidInput` if a pair of user and item occurs twice in the interactions of this table.

    Raises:
        InvalidInput: a pair does; the message has its rows and how many rows repeat a pair.
    """
    users, items = interactions.user_codes, interactions.item_codes
    codes = users * len(interactions.items) + items
    # Sorting takes a quarter of the memory of the table of hashes that finds which rows repeat a pair.
    codes.sort()
    if (codes[1:] == codes[:-1]).any():
        pairs = pd.Series(users * len(interactions.items) + items)
        repeated = pairs.duplicated()
        at = first(repeated)
        before = table.row(first(pairs == pairs.iloc[at]))
        pair = f"user {interactions.users[users[at]]!r} and item {interactions.items[items[at]]!r}"
        count = f"{int(repeated.sum()):,} of {len(pairs):,} rows repeat an earlier pair"
        rule = f"{pair} already occur together in row {before}; each pair may occur once ({count})"
        table.refuse(at, rule, next_step=next_step, option=("--repeats", "latest"))


def values_of_users(table: Table, column: str, interactions: Interactions, source: Table) -> pd.Series[str]:
    """Return each user's value (text) of a column of the users file, indexed by user id.

    Raises:
        InvalidInput: user_id is missing or empty, or has two values, a user of the interactions is not
            listed, a value is empty, or a value belongs to no user with interactions.
    """
    distinct = distinct_rows(table, "user_id", [column])
    table, ids = distinct.table, distinct.ids
    unknown = pd.Index(ids).get_indexer(interactions.users) < 0
    if unknown.any():
        code = first(unknown)
        at = first(interactions.user_codes == code)
        source.refuse(at, f"user {interactions.users[code]!r} is not in the users file {table.path}")
    values = table.text(column)
    idle = ~values.isin(values[ids.isin(interactions.users)])
    if idle.any():
        at = first(idle)
        table.refuse(
            at,
            f"no user with {column} {values.iloc[at]!r} has an interaction, so that client would be empty",
            next_step="Remove these users from the users file.",
        )
    return pd.Series(values.to_numpy(), index=pd.Index(ids)).reindex(interactions.users)


def values_in_rows(table: Table, column: str, interactions: Interactions) -> pd.Series[str]:
    """Return each user's only value (text) of a column of the interactions, indexed by user id.

    Raises:
        InvalidInput: a value is empty, or a user has two values.
    """
    codes, values = pd.factorize(table.text(column))
    # The first row of each user; codes of users count up in order of appearance.
    _, starts = np.unique(interactions.user_codes, return_index=True)
    expected = codes[starts][interactions.user_codes]
    if (codes != expected).any():
        at = first(codes != expected)
        user = interactions.user_codes[at]
        was, row = values[expected[at]], table.row(starts[user])
        has = f"user {interactions.users[user]!r} has {column} {values[codes[at]]!r}"
        table.refuse(at, f"{has}, but {was!r} in row {row}; a user belongs to one client")
    return pd.Series(values[codes[starts]], index=interactions.users)


def usable_interactions(table: Table, by: str | None = None) -> tuple[Table, SkippedRows]:
    """Return the rows that `check_interactions` accepts, and what was left out.

    Args:
        table: with user_id and item_id, and optionally rating and timestamp.
        by: a further column whose values must not be empty.
    """
    faults = Faults()
    lenient = replace(table, faults=faults)
    check_interactions(lenient)
    if by is not None:
        lenient.text(by)
    return without(table, faults)
