"""Item arrays: their shapes belong together, they are read-only, and they report which rows moved."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.federation.model import ItemArrays, relative_drift
from models.recommenders.additive.ials import IalsFamily, IalsSpec
from models.recommenders.items.item_weights import ItemWeights

SHAPES = {"embeddings": (3, 2), "biases": (3,), "embedding_accumulators": (3,), "bias_accumulators": (3,)}


def arrays(value: float = 0.0, **changes: tuple[int, ...]) -> ItemArrays:
    return ItemArrays(
        **{name: np.full(shape, value, dtype=np.float32) for name, shape in (SHAPES | changes).items()}
    )


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("biases", (2,)),
        ("biases", (3, 1)),
        ("embedding_accumulators", (3, 2)),
        ("bias_accumulators", (4,)),
    ],
)
def test_arrays_of_shapes_that_do_not_fit_are_refused_by_name(name, shape):
    with pytest.raises(InvalidInput, match=f"'{name}' has shape"):
        arrays(**{name: shape})


@pytest.mark.parametrize("shape", [(3,), (3, 2, 1)])
def test_embeddings_have_two_axes(shape):
    with pytest.raises(InvalidInput, match="'embeddings' has shape"):
        arrays(embeddings=shape)


def test_arrays_are_read_only_and_in_a_fixed_order():
    some = arrays()
    assert some.shape == (3, 2)
    assert [name for name, _ in some.named()] == list(SHAPES)
    for _, array in some.named():
        with pytest.raises(ValueError, match="read-only"):
            array[...] = 1


def test_map_pairs_arrays_by_name():
    summed = arrays(1.0).map(lambda a, b, c: a + b * c, arrays(2.0), arrays(3.0))
    assert all((array == 7.0).all() for _, array in summed.named())


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_value_that_is_not_finite_is_found(name, value):
    values = {each: np.zeros(shape, dtype=np.float32) for each, shape in SHAPES.items()}
    values[name].flat[-1] = value
    assert arrays().is_finite()
    assert not ItemArrays(**values).is_finite()


def test_drift_is_the_relative_frobenius_norm():
    def with_embeddings(rows):
        return ItemArrays(np.array(rows, np.float32), np.zeros(2), np.zeros(2), np.zeros(2))

    # From norm 5 a step of norm 1: a fifth.
    old, new = with_embeddings([[3, 0], [0, 4]]), with_embeddings([[3, 0], [1, 4]])
    assert relative_drift(new, old) == pytest.approx(0.2)
    assert relative_drift(old, old) == 0.0
    assert relative_drift(new, with_embeddings([[0, 0], [0, 0]])) == 0.0


def test_every_kind_of_model_answers_what_contracts_need():
    items = ItemArrays(*(np.array(a, np.float32) for a in ([[3, 4], [0, 0]], [1, 0], [5, 1], [1, 1])))
    assert items.shape == (2, 2)
    assert items.item_biases.tolist() == [1, 0]
    assert items.accumulators.tolist() == [[5, 1], [1, 1]]
    assert items.trained.tolist() == [True, False]
    weights = ItemWeights.of(np.array([[0, 2], [0, 0]]), 0.0, np.zeros(2))
    assert weights.item_biases.tolist() == [0, 0]
    assert weights.accumulators.shape == (2, 0)
    assert weights.trained.tolist() == [True, False]
    factors = IalsFamily(IalsSpec(dims=2)).initial(3, seed=1)
    assert (len(factors), factors.shape, len(weights), len(items)) == (3, (3, 2), 2, 2)
    np.testing.assert_array_equal(factors.vectors, factors.embeddings)
