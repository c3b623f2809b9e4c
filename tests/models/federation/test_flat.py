"""A group as one vector: any part of it is that of all values, whether or not its rows of zeros are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.federation.flat import FlatArrays, as_group
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.packed import packed


@dataclass(frozen=True)
class Three(ArrayGroup):
    """Arrays of two, one and three axes."""

    table: FloatArray
    column: FloatArray
    cube: FloatArray


def arrays(*shape: int) -> st.SearchStrategy[FloatArray]:
    return npst.arrays(np.float32, shape, elements=st.sampled_from([0.0, 0.0, 0.0, 0.0, 1.0, -2.5]))


GROUPS = st.builds(Three, arrays(7, 3), arrays(5), arrays(4, 2, 2))
SIZE = 7 * 3 + 5 + 4 * 2 * 2


@given(GROUPS, st.integers(0, SIZE + 3), st.integers(0, SIZE + 3))
def test_a_part_is_that_of_all_values(group: Three, first: int, last: int) -> None:
    values = np.concatenate([group.table.ravel(), group.column, group.cube.ravel()])
    for each in (FlatArrays(group), FlatArrays(packed(group))):
        assert (len(each), each.shape) == (SIZE, (SIZE,))
        np.testing.assert_array_equal(each[first:last], values[first:last])
        np.testing.assert_array_equal(each[:], values)


@given(GROUPS)
def test_all_values_make_the_group_again(group: Three) -> None:
    found = as_group(FlatArrays(packed(group))[:].astype(np.float64), group)
    for (name, got), (_, expected) in zip(found.named(), group.named(), strict=True):
        np.testing.assert_array_equal(got, expected, err_msg=name)
