"""Packed values are one little-endian bit stream, and nothing else is read."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.kernel.bit_packing import pack, packed_size, unpack, word_type


@st.composite
def values_of_a_width(draw: st.DrawFn) -> tuple[list[int], int]:
    width = draw(st.integers(1, 64))
    return draw(st.lists(st.integers(0, 2**width - 1), max_size=200)), width


@given(values_of_a_width())
def test_packed_values_are_the_digits_of_one_integer_and_are_read_again(case: tuple[list[int], int]) -> None:
    values, width = case
    array = np.array(values, word_type(width))
    data = pack(array, width)
    assert len(data) == packed_size(len(values), width)
    assert int.from_bytes(data, "little") == sum(value << width * place for place, value in enumerate(values))
    again = unpack(data, len(values), width)
    assert again.tolist() == values
    assert again.dtype == (np.uint32 if width <= 32 else np.uint64)


@pytest.mark.parametrize("width", [0, -1, 65])
def test_widths_are_1_to_64(width: int) -> None:
    with pytest.raises(InvalidInput, match=f"{width} bits, expected 1 to 64"):
        word_type(width)


def test_a_value_with_more_bits_is_not_packed() -> None:
    with pytest.raises(InvalidInput, match="256, which needs more than 8 bits"):
        pack(np.array([255, 256], np.uint32), 8)


@pytest.mark.parametrize("values", [np.zeros(2, np.int64), np.zeros((2, 2), np.uint32)])
def test_other_arrays_are_not_packed(values: np.ndarray) -> None:
    with pytest.raises(InvalidInput, match="expected a list of uint"):
        pack(values, 8)


@pytest.mark.parametrize("size", [0, 2, 4])
def test_bytes_of_another_size_are_refused(size: int) -> None:
    with pytest.raises(InvalidInput, match=f"have {size} bytes, expected 3"):
        unpack(bytes(size), 5, 4)


def test_bits_after_the_last_value_are_refused() -> None:
    assert unpack(b"\x21\x03", 3, 4).tolist() == [1, 2, 3]
    with pytest.raises(InvalidInput, match="bits after the last value"):
        unpack(b"\x21\x13", 3, 4)
