"""The item catalogue, which translates item ids into array rows."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from models.errors import CatalogMismatch, InvalidInput

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ItemCatalog:
    """The items of a job, in row order.

    Attributes:
        ids: external item ids; the position of an id is its row in every item array.
        digest: SHA-256 of the ids in order. Parties with equal digests number the items alike.
    """

    ids: tuple[str, ...]
    digest: str

    @classmethod
    def of(cls, ids: Iterable[object]) -> ItemCatalog:
        """Return the catalogue of these ids, in this order.

        Raises:
            InvalidInput: there is no id, or an id occurs twice.
        """
        names = tuple(str(item_id) for item_id in ids)
        if not names:
            raise InvalidInput("An item catalogue needs at least one item, got none.")
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise InvalidInput(f"Item id {twice!r} occurs twice in the catalogue; ids must be unique.")
        return cls(ids=names, digest=hashlib.sha256("\n".join(names).encode()).hexdigest())

    @cached_property
    def _index(self) -> pd.Index[Any]:
        import pandas as pd

        return pd.Index(self.ids, dtype=object)

    def __len__(self) -> int:
        return len(self.ids)

    def rows_of(self, item_ids: Sequence[object]) -> npt.NDArray[np.int32]:
        """Return the array rows, (n,) int32, of n item ids.

        Raises:
            CatalogMismatch: an id is not in the catalogue.
        """
        import pandas as pd

        names = [str(item_id) for item_id in item_ids]
        rows = self._index.get_indexer(pd.Index(names, dtype=object))
        if (rows < 0).any():
            unknown = names[int(np.argmax(rows < 0))]
            raise CatalogMismatch(
                f"Item id {unknown!r} is not in the catalogue of {len(self)} items "
                f"(digest {self.digest[:12]}).",
                next_step="Partition the data again so that catalogue and interactions agree.",
                item_id=unknown,
            )
        return rows.astype(np.int32)

    def lacks(self, item_ids: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
        """Return which of the n item ids are not in the catalogue, (n,). Only text is an id."""
        import pandas as pd

        absent: npt.NDArray[np.bool_] = self._index.get_indexer(pd.Index(item_ids, dtype=object)) < 0
        return absent
