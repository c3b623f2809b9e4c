"""What becomes of interactions with items that the catalogue does not list, or must not."""

from __future__ import annotations

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd

from tasks.datasets.interaction_tables import Interactions
from tasks.tables.table import Table, first, refuse

UnknownItems = Literal["refuse", "keep", "drop"]
UNKNOWN_ITEMS: tuple[UnknownItems, ...] = get_args(UnknownItems)
_EXAMPLES = 3


def rows_with_unknown_items(items: pd.DataFrame, interactions: Interactions) -> npt.NDArray[np.bool_]:
    """Return (n,) which rows of the interactions have an item that the catalogue's items do not list."""
    unknown = pd.Index(items["item_id"]).get_indexer(interactions.items) < 0
    mask: npt.NDArray[np.bool_] = unknown[interactions.item_codes]
    return mask


def refuse_unknown_items(
    path: object, rows: npt.NDArray[np.bool_], interactions: Interactions, source: Table
) -> None:
    """Raise `InvalidInput` if there are rows with unknown items.

    Args:
        path: the items file.
        rows: (n,) as `rows_with_unknown_items` returns them.
        interactions: made from `source`.
        source: the interactions file.

    Raises:
        InvalidInput: there is such a row.
    """
    if not rows.any():
        return
    at = first(rows)
    rule = f"item {interactions.items[interactions.item_codes[at]]!r} is not in the items file {path}"
    step = (
        "Add rows with their item_id to the items file (other values may be empty). Or give --unknown-items "
        "keep to add them as items without features, or --unknown-items drop to leave these rows out."
    )
    more = f" ({_counted(rows, interactions)}, are not there, such as {_examples(rows, interactions)})"
    source.refuse(at, rule + more, next_step=step, option=("--unknown-items", "keep"))


def dropped_note(path: object, rows: npt.NDArray[np.bool_], interactions: Interactions) -> str:
    """Return a sentence about rows that were left out because the items file does not list their items."""
    counted, examples = _counted(rows, interactions), _examples(rows, interactions)
    return f"{counted}, are not in {path}, such as {examples}: these rows were left out."


def kept_note(path: object, rows: npt.NDArray[np.bool_], interactions: Interactions) -> str:
    """Return a sentence about items that were added to the catalogue."""
    counted, examples = _counted(rows, interactions), _examples(rows, interactions)
    return f"{counted}, are not in {path}, such as {examples}: they were added without title and features."


def with_unknown_items(
    items: pd.DataFrame, rows: npt.NDArray[np.bool_], interactions: Interactions
) -> pd.DataFrame:
    """Return the catalogue's items, and after them the unknown ones, sorted and without features."""
    ids = sorted(_items(rows, interactions))
    columns: dict[str, Any] = {}
    for name in items.columns:
        own = items[name]
        if name in ("item_id", "title"):
            added: Any = ids
        elif pd.api.types.is_float_dtype(own.dtype):
            added = np.full(len(ids), np.nan)
        else:
            added = [()] * len(ids)
        columns[name] = pd.concat([own, pd.Series(added, dtype=own.dtype)], ignore_index=True)
    return pd.DataFrame(columns)


def rows_with_rare_items(interactions: Interactions, most: int) -> npt.NDArray[np.bool_]:
    """Return (n,) which rows have an item that is not among the `most` items with the most interactions.

    Of equally used items, those whose id is first in the alphabet count as more used.
    """
    counts = np.bincount(interactions.item_codes, minlength=len(interactions.items))
    by_id = np.argsort(interactions.items)
    order = by_id[np.argsort(-counts[by_id], kind="stable")]
    rare = np.ones(len(order), dtype=np.bool_)
    rare[order[:most]] = False
    mask: npt.NDArray[np.bool_] = rare[interactions.item_codes]
    return mask


def rare_note(rows: npt.NDArray[np.bool_], interactions: Interactions) -> str:
    """Return a sentence about rows that were left out because other items are used more."""
    counted, examples = _counted(rows, interactions), _examples(rows, interactions)
    return f"{counted}, are not among the most used, such as {examples}: they were left out (--max-items)."


def without_rows(source: Table, rows: npt.NDArray[np.bool_]) -> Table:
    """Return the interactions file without rows.

    Raises:
        InvalidInput: no row is left.
    """
    if rows.all():
        refuse(
            source.path, "no row has an item of the items file", next_step="Are the ids written in two ways?"
        )
    return source.kept(~rows)


def _items(rows: npt.NDArray[np.bool_], interactions: Interactions) -> list[str]:
    return list(interactions.items[pd.unique(interactions.item_codes[rows])])


def _counted(rows: npt.NDArray[np.bool_], interactions: Interactions) -> str:
    items = len(_items(rows, interactions))
    return f"{items:,} of {len(interactions.items):,} items, in {int(rows.sum()):,} of {len(rows):,} rows"


def _examples(rows: npt.NDArray[np.bool_], interactions: Interactions) -> str:
    return ", ".join(map(repr, _items(rows, interactions)[:_EXAMPLES]))
