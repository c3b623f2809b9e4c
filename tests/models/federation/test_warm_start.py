"""Carrying a model over to a catalogue that lost, gained and moved items."""

from __future__ import annotations

import numpy as np

from models.federation.model import ItemArrays
from models.federation.warm_start import carry_over
from models.kernel.catalog import ItemCatalog
from models.recommenders.items.item_factors import ItemFactors


def arrays(first_column: list[float]) -> ItemArrays:
    column = np.array(first_column, dtype=np.float32)
    pairs = np.stack([column, -column], axis=1)
    return ItemArrays(pairs, column * 10, column * 100, column * 1000)


def test_known_items_keep_their_values_and_new_ones_start_fresh():
    known, catalog = ItemCatalog.of("abc"), ItemCatalog.of("cxa")
    model = carry_over(arrays([1, 2, 3]), known, arrays([7, 8, 9]), catalog)
    # c was row 2 with 3, x is new with the fresh row's 8, a was row 0 with 1. b is gone.
    expected = arrays([3, 8, 1])
    assert (model.round, model.catalog_digest) == (0, catalog.digest)
    for (_, got), (_, want) in zip(model.items.named(), expected.named(), strict=True):
        assert np.array_equal(got, want)
        assert got.dtype == np.float32


def test_a_catalogue_without_common_items_gives_a_fresh_model():
    fresh = arrays([7, 8])
    model = carry_over(arrays([1]), ItemCatalog.of("a"), fresh, ItemCatalog.of("xy"))
    assert np.array_equal(model.items.embeddings, fresh.embeddings)


def test_arrays_that_belong_to_no_single_item_are_those_of_the_new_job():
    def factors(rows: list[float], step: float) -> ItemFactors:
        column = np.array(rows, dtype=np.float32)
        return ItemFactors(column[:, np.newaxis], np.full(3, step, dtype=np.float32), column * 10)

    model = carry_over(factors([1, 2], 0.5), ItemCatalog.of("ab"), factors([7, 8], 0.1), ItemCatalog.of("xb"))
    assert model.items.embeddings.ravel().tolist() == [7, 2]
    assert model.items.popularity.tolist() == [70, 20]
    assert np.array_equal(model.items.user_step, np.full(3, 0.1, dtype=np.float32))
