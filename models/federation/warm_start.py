"""Starts a job from the model of an earlier job."""

from __future__ import annotations

from typing import TypeVar

from models.federation.model import GlobalModel, ItemModel
from models.kernel.arrays import FloatArray
from models.kernel.catalog import ItemCatalog

Kind = TypeVar("Kind", bound=ItemModel)


def carry_over(items: Kind, known: ItemCatalog, initial: Kind, catalog: ItemCatalog) -> GlobalModel:
    """Return a round-0 model of `catalog` in which items of both catalogues keep their earlier values.

    Independently initialised factors cannot be merged, so all clients start from this one model. Arrays
    without an axis of items, such as the parts of a user's vector, are as in the fresh model.

    Args:
        items: arrays of the earlier model, with the rows of `known`.
        known: the earlier catalogue.
        initial: arrays of a fresh model, with the rows of `catalog`. New items start from them.
        catalog: the new job's catalogue.
    """
    row_of = {item_id: row for row, item_id in enumerate(known.ids)}
    rows = [row for row, item_id in enumerate(catalog.ids) if item_id in row_of]
    known_rows = [row_of[catalog.ids[row]] for row in rows]
    earlier = dict(items.named())

    def merged(name: str, fresh: FloatArray) -> FloatArray:
        if initial.AXES[name].split()[0] != "items" or name in initial.RECOMPUTED:
            return fresh
        array = fresh.copy()
        array[rows] = earlier[name][known_rows]
        return array

    carried = type(initial)(**{name: merged(name, fresh) for name, fresh in initial.named()})
    return GlobalModel(round=0, catalog_digest=catalog.digest, items=carried)
