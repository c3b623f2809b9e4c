"""Reads the files that a partition is made from, by the names and the rules that a user gives."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tasks.datasets.catalog import ITEM_COLUMNS, Catalog, ColumnOptions, check_catalog
from tasks.datasets.client_assignment import ByColumn, Split, require_split
from tasks.datasets.interaction_tables import (
    Interactions,
    check_interactions,
    require_no_repeats,
    usable_interactions,
)
from tasks.datasets.repeats import Repeats
from tasks.datasets.unknown_items import (
    UnknownItems,
    dropped_note,
    kept_note,
    rare_note,
    refuse_unknown_items,
    rows_with_rare_items,
    rows_with_unknown_items,
    with_unknown_items,
    without_rows,
)
from tasks.tables.column_names import AS_THEY_ARE, OPTION, ColumnNames, guessed, written
from tasks.tables.distinct_rows import distinct_rows
from tasks.tables.faults import BadRows, Faults, SkippedRows
from tasks.tables.read import read_table
from tasks.tables.table import Table

INTERACTION_COLUMNS = ("user_id", "item_id", "rating", "timestamp")
USER_COLUMNS = ("user_id",)
_OWN = {"interactions": INTERACTION_COLUMNS, "items": ITEM_COLUMNS, "users": USER_COLUMNS}
_MERGE_REPEATS = "Give --repeats latest or --repeats first to keep one of them, or --repeats sum to {what}."
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Attributes:
        names: what they call their columns.
        bad_rows: whether a row that breaks a rule is refused or left out.
        unknown_items: what becomes of interactions with items that the items file does not list.
        max_items: keep only so many items, those with the most interactions; None keeps all.
    """

    names: ColumnNames = AS_THEY_ARE
    bad_rows: BadRows = "refuse"
    unknown_items: UnknownItems = "refuse"
    max_items: int | None = None

    def table(self, path: Path, needed: Sequence[str], own: Sequence[str]) -> tuple[Table, SkippedRows]:
        """Return the rows of a file, and those that were left out because they are ragged."""
        left_out = SkippedRows()
        skipped = left_out if self.bad_rows == "skip" else None
        return read_table(path, needed, names=self.names, own=own, skipped=skipped), left_out


STRICT = Reading()


@dataclass(frozen=True)
class OwnerFiles:
    """The rows of an owner's files that are used.

    Attributes:
        source: of the interactions file.
        interactions: the same, checked.
        catalog: of the items file; None without one.
        users: of the users file; None without one.
        sources: SHA-256 of each file.
    """

    source: Table
    interactions: Interactions
    catalog: Catalog | None
    users: Table | None
    sources: dict[str, str]


def read_owner_files(
    interactions: Path,
    items: Path | None,
    users: Path | None,
    split: Split,
    columns: ColumnOptions,
    reading: Reading,
    repeats: Repeats | None,
    tell: Tell,
) -> OwnerFiles:
    """Return the rows of files that are used.

    Args:
        interactions, items, users: the files; see `make_partition`.
        split: how users become clients.
        columns: decisions about the columns of the items file.
        reading: how the files are read.
        repeats: what becomes of repeated pairs of user and item; None refuses them.
        tell: called with a sentence about each kind of rows that were left out, or items that were added.

    Raises:
        InvalidInput: a file breaks a rule.
    """
    source, of_source = reading.table(interactions, ["user_id", "item_id"], INTERACTION_COLUMNS)
    users_table, of_users = (
        reading.table(users, ["user_id"], USER_COLUMNS) if users else (None, SkippedRows())
    )
    items_table, of_items = (
        reading.table(items, ["item_id"], ITEM_COLUMNS) if items else (None, SkippedRows())
    )
    tables = {"interactions": source, "items": items_table, "users": users_table}
    # What the options and the headers say comes before what the rows hold.
    reading.names.require_found(
        (table.path, table.stored, _OWN[name]) for name, table in tables.items() if table
    )
    require_split(split, source, users_table)
    if items_table:
        columns.require_known(items_table)
    for hint in [*_hints(source, INTERACTION_COLUMNS), *_hints(items_table, ITEM_COLUMNS)]:
        tell(hint)
    by = split.column if isinstance(split, ByColumn) else None
    in_users = users_table is not None and by in users_table.columns and by not in USER_COLUMNS
    if reading.bad_rows == "skip":
        source, faulty = usable_interactions(source, None if in_users else by)
        of_source.add(faulty.count, faulty.first)
    if of_source.count:
        tell(of_source.sentence(interactions, len(source.data)))
    checked = check_interactions(source)
    if repeats is None:
        what = "count them" if checked.ratings is None else "add up their ratings"
        require_no_repeats(source, checked, _MERGE_REPEATS.format(what=what))
    catalog = None
    if items_table:
        catalog, source, checked = _listed(items_table, source, checked, columns, reading, of_items, tell)
    if reading.max_items:
        catalog, source, checked = _most_used(items_table, catalog, source, checked, columns, reading, tell)
    if users_table:
        distinct = distinct_rows(users_table, "user_id", [by] if in_users and by else [], reading.bad_rows)
        users_table = distinct.table
        if distinct.repeats:
            tell(f"Rows of {users} that repeat an earlier one were left out: {distinct.repeats:,}.")
        of_users.add(distinct.left_out.count, distinct.left_out.first)
        if of_users.count:
            tell(of_users.sentence(users, len(users_table.data)))
    sources = {name: table.sha256 for name, table in tables.items() if table}
    return OwnerFiles(source, checked, catalog, users_table, sources)


def _listed(
    table: Table,
    source: Table,
    checked: Interactions,
    columns: ColumnOptions,
    reading: Reading,
    of_items: SkippedRows,
    tell: Tell,
) -> tuple[Catalog, Table, Interactions]:
    """Return the catalogue in a table, and the interactions with its items."""
    catalog = check_catalog(table, columns)
    catalog.left_out.add(of_items.count, of_items.first)
    for note in catalog.notes(table.path):
        tell(note)
    unknown = rows_with_unknown_items(catalog.items, checked)
    if reading.unknown_items == "refuse":
        refuse_unknown_items(table.path, unknown, checked, source)
    elif unknown.any() and reading.unknown_items == "drop":
        tell(dropped_note(table.path, unknown, checked))
        source = without_rows(source, unknown)
        checked = check_interactions(source)
    elif unknown.any():
        tell(kept_note(table.path, unknown, checked))
        catalog = catalog.with_items(with_unknown_items(catalog.items, unknown, checked))
    return catalog, source, checked


def _most_used(
    table: Table | None,
    catalog: Catalog | None,
    source: Table,
    checked: Interactions,
    columns: ColumnOptions,
    reading: Reading,
    tell: Tell,
) -> tuple[Catalog | None, Table, Interactions]:
    """Return the same as if the items file, if there is one, listed only the most used items."""
    most = reading.max_items or len(checked.items)
    rare = rows_with_rare_items(checked, most)
    if rare.any():
        tell(rare_note(rare, checked))
        source = source.kept(~rare)
        checked = check_interactions(source)
    if table is None or catalog is None or len(catalog.items) <= most:
        return catalog, source, checked
    # Faulty rows have been refused, or left out with a note.
    ids = replace(table, faults=Faults()).ids("item_id")
    used = table.kept(ids.isin(checked.items).to_numpy())
    return _listed(used, source, checked, columns, reading, SkippedRows(), lambda note: None)


def _hints(table: Table | None, own: Sequence[str]) -> list[str]:
    """Return a sentence about each optional column that a table seems to have under another name."""
    return [
        f"{table.path} has no {name}. If that is the column {stored!r}, give "
        f"{shlex.join([OPTION, written({name: stored})])}."
        for table in ([table] if table else [])
        for name, stored in guessed([], table.columns, own).items()
    ]
