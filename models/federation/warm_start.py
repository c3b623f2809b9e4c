"""Starting a job from a model that an earlier one made."""

from __future__ import annotations

import numpy as np

from models.federation.catalog import ItemCatalog
from models.federation.model import GlobalModel, ItemArrays


def carry_over(
    items: ItemArrays, known: ItemCatalog, initial: ItemArrays, catalog: ItemCatalog
) -> GlobalModel:
    """A round-0 model of `catalog` with what is known: items of both catalogues keep their rows' values.

    Independently initialised factors cannot be merged, so everything a job starts from comes from one place.

    Args:
        items: of the earlier model, numbered by `known`.
        known: the earlier catalogue.
        initial: arrays of a fresh model, numbered by `catalog`; new items start from them.
        catalog: the new job's catalogue.
    """
    row_of = {item_id: row for row, item_id in enumerate(known.ids)}
    rows = [row for row, item_id in enumerate(catalog.ids) if item_id in row_of]
    known_rows = [row_of[catalog.ids[row]] for row in rows]

    def merged(fresh: np.ndarray, old: np.ndarray) -> np.ndarray:
        array = fresh.copy()
        array[rows] = old[known_rows]
        return array

    return GlobalModel(round=0, catalog_digest=catalog.digest, items=initial.map(merged, items))
