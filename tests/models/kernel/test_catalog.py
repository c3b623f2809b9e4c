"""The item catalogue: rows are positions, and the digest covers the ids in order."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from models.errors import CatalogMismatch, InvalidInput
from models.kernel.catalog import ItemCatalog


def test_the_position_of_an_id_is_its_row():
    catalog = ItemCatalog.of(["c", "a", "b"])
    rows = catalog.rows_of(["b", "c", "b"])
    assert rows.tolist() == [2, 0, 2]
    assert rows.dtype == np.int32
    assert len(catalog) == 3
    assert catalog.rows_of([]).tolist() == []


def test_ids_are_compared_as_strings():
    assert ItemCatalog.of([1, 2]) == ItemCatalog.of(["1", "2"])
    assert ItemCatalog.of(["1", "2"]).rows_of([2]).tolist() == [1]


def test_the_digest_covers_the_ids_in_their_order():
    assert ItemCatalog.of(["a", "b"]).digest == hashlib.sha256(b"a\nb").hexdigest()
    assert ItemCatalog.of(["b", "a"]).digest != ItemCatalog.of(["a", "b"]).digest


def test_an_unknown_item_is_named():
    with pytest.raises(CatalogMismatch, match="'z' is not in the catalogue of 2 items") as caught:
        ItemCatalog.of(["a", "b"]).rows_of(["a", "z"])
    assert caught.value.item_id == "z"


@pytest.mark.parametrize(("ids", "what"), [([], "at least one"), (["a", "b", "a"], "'a' occurs twice")])
def test_an_empty_catalogue_and_repeated_items_are_refused(ids, what):
    with pytest.raises(InvalidInput, match=what):
        ItemCatalog.of(ids)


def test_what_is_not_in_the_catalogue_is_found():
    catalog = ItemCatalog.of(["1", "b"])
    assert catalog.lacks(np.array(["b", "z", None, 1, "1"], dtype=object)).tolist() == [
        False,
        True,
        True,
        True,
        False,
    ]
    assert catalog.lacks(np.array([], dtype=object)).tolist() == []
