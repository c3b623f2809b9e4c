"""A training set is scipy's matrix of its pairs, with none twice and none out of range."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.recommenders.base.training_set import TrainingSet

SHAPE = (5, 7)
PAIRS = st.lists(
    st.tuples(st.integers(0, SHAPE[0] - 1), st.integers(0, SHAPE[1] - 1)), unique=True, min_size=1
)


def training_set(*pairs: tuple[int, int]) -> TrainingSet:
    users, items = np.array(pairs, dtype=np.int32).T
    return TrainingSet(users, items, SHAPE)


@settings(deadline=None)
@given(pairs=PAIRS)
def test_the_matrix_has_a_one_at_each_pair(pairs):
    data = training_set(*pairs)
    users, items = np.array(pairs).T
    expected = sp.csr_matrix((np.ones(len(pairs), np.float32), (users, items)), shape=SHAPE)
    assert (data.positives != expected).nnz == 0
    assert data.positives.has_canonical_format
    assert [part.dtype for part in (data.positives.data, data.positives.indices, data.positives.indptr)] == [
        np.float32,
        np.int32,
        np.int32,
    ]
    every = np.indices(SHAPE).reshape(2, -1)
    assert (data.contains(*every).reshape(SHAPE) == (expected.toarray() == 1)).all()


def test_a_pair_that_occurs_twice_is_refused():
    with pytest.raises(InvalidInput, match="twice"):
        training_set((1, 2), (0, 3), (1, 2))


def test_no_pair_is_refused():
    none = np.array([], dtype=np.int32)
    with pytest.raises(InvalidInput, match="at least one"):
        TrainingSet(none, none, SHAPE)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ((5, 0), "User rows range from 0 to 5"),
        ((-1, 0), "User rows"),
        ((0, 7), "Item rows"),
        ((0, -1), "Item"),
    ],
)
def test_a_row_outside_the_matrix_is_refused(pair, message):
    with pytest.raises(InvalidInput, match=message):
        training_set((0, 0), pair)
