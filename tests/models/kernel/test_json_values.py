"""JSON from other parties is read strictly."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.kernel.json_values import count, number, read_json, require_finite, whole

HUGE, DEEP = 10**400, 50_000


def str_of(value: object) -> str:
    return type(value).__name__


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(DEEP):
        value = [value]
    return value


def test_json_is_read() -> None:
    assert read_json('{"a": [1, -2.5, 1e300, true, null, "NaN"]}') == {
        "a": [1, -2.5, 1e300, True, None, "NaN"]
    }
    assert read_json(b'"\xc3\xab"') == "ë"


@pytest.mark.parametrize(
    "text",
    ["NaN", '{"a": [Infinity]}', "-Infinity", "1e999", "-1e999", "", "{", b"\xff", "[" * DEEP, "1" * 5000],
)
def test_text_that_is_not_json_or_not_finite_is_refused(text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        read_json(text)


@given(st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False))
def test_finite_numbers_are_numbers(value: float) -> None:
    assert number(value) == float(value)
    assert type(number(value)) is float


@pytest.mark.parametrize(
    "value", [True, None, "1", "nan", [1], {}, math.nan, math.inf, -math.inf, HUGE, 10**5000], ids=str_of
)
def test_other_values_are_not_numbers(value: object) -> None:
    with pytest.raises(ValueError, match=r"is not a (finite )?number"):
        number(value)


def test_integers_are_whole_and_from_0_on_counts() -> None:
    assert [whole(value) for value in (-3, 0, HUGE)] == [-3, 0, HUGE]
    assert [count(value) for value in (0, 7)] == [0, 7]
    with pytest.raises(ValueError, match="-1 is not an integer of at least 0"):
        count(-1)
    with pytest.raises(ValueError, match=r"^the weight nan is not a finite number$"):
        number(math.nan, "weight")
    with pytest.raises(ValueError, match="so large an integer is not"):
        count(-(10**5000))


@pytest.mark.parametrize("value", [True, 1.0, "1", None, []])
def test_other_values_are_not_whole(value: object) -> None:
    for read in (whole, count):
        with pytest.raises(ValueError, match="is not an integer"):
            read(value)


def test_a_number_that_is_not_finite_is_found_wherever_it_is() -> None:
    require_finite({"a": [1, {"b": (2.0, True, None, "x")}], "deep": deep()})
    for bad in (math.nan, -math.inf, HUGE):
        with pytest.raises(ValueError, match=r"^its part 'a\.1\.b\.0' is not a finite number$"):
            require_finite({"a": [1, {"b": (bad, 2)}], "c": 1})
    with pytest.raises(ValueError, match="its part '' is"):
        require_finite(math.nan)
