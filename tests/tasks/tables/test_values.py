"""Numbers and times of a table: expected values are computed by hand."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from models.errors import InvalidInput
from tasks.tables.table import Table

NAN = float("nan")


def table(values: object) -> Table:
    return Table("a file", pa.table({"x": values}))


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("4", 4.0),
        (" 4.50 ", 4.5),
        ("+4", 4.0),
        ("-4.", -4.0),
        (".5", 0.5),
        ("4e-1", 0.4),
        ("0004", 4.0),
        ("1e999", float("inf")),
        ("0.1", 0.1),
        *(
            (text, NAN)
            for text in ("", " ", "4,5", "1_000", "0x4", "nan", "inf", "NA", "True", "--4", "٤", "4 5")
        ),
    ],
)
def test_a_number_is_written_in_digits(written, number):
    # Next to a text that is no number, every value is parsed as it is alone.
    np.testing.assert_array_equal(table([written, "no number", "1"]).numbers("x"), [number, NAN, 1.0])


@pytest.mark.parametrize(
    ("column", "numbers"),
    [
        (pa.array([1, None]), [1.0, NAN]),
        (pa.array([1.5, NAN]), [1.5, NAN]),
        (pa.array([np.float16(0.5)], pa.float16()), [0.5]),
        # As they are written, so that they equal those of a text file.
        (pa.array([1.1, None, 4.3], pa.float32()), [1.1, NAN, 4.3]),
        (pa.array([np.float16(0.1), np.float16(np.inf)], pa.float16()), [0.1, np.inf]),
        (pa.array([Decimal("1.25")]), [1.25]),
        *(
            (pa.array([Decimal("4.1"), None, Decimal("-0.3")], kind), [4.1, NAN, -0.3])
            for kind in (pa.decimal32(5, 1), pa.decimal64(9, 3), pa.decimal128(5, 1), pa.decimal256(70, 9))
        ),
        (pa.array([Decimal("4.1"), Decimal("7.7")]).dictionary_encode(), [4.1, 7.7]),
        (pa.array([Decimal(1200), Decimal("1e5")], pa.decimal128(5, -2)), [1200.0, 100000.0]),
        (pa.array([b"1.25", None]), [1.25, NAN]),
        (pa.array([2.5, 2.5]).dictionary_encode(), [2.5, 2.5]),
        (pa.nulls(1), [NAN]),
    ],
)
def test_a_number_may_have_any_type_of_number(column, numbers):
    np.testing.assert_array_equal(table(column).numbers("x"), numbers)


@pytest.mark.parametrize(
    "column",
    [
        ["-0", "-0.0", "-0e3"],
        *(pa.array([-0.0, 0.0], kind) for kind in (pa.float64(), pa.float32())),
        pa.array([np.float16(-0.0)], pa.float16()),
        pa.array([0]),
        pa.array([Decimal("-0.0")]),
    ],
)
def test_there_is_one_zero(column):
    found = table(column).numbers("x")
    assert not found.any()
    assert not np.signbit(found).any()


def test_short_floats_of_a_long_column_are_those_written_too():
    written = np.arange(-200_000, 200_000) / 10
    column = pa.array(written.astype(np.float32))
    np.testing.assert_array_equal(table(column).numbers("x"), written)


@pytest.mark.parametrize(
    ("column", "row", "rule"),
    [
        (pa.array([None, True]), 2, "x is a bool, expected a number"),
        (pa.array([date(2020, 1, 1)]), 1, "x is a date32"),
        (pa.array([[1.0]]), 1, "x is a list<"),
        (pa.array([b"1", b"\xff"]), 2, "its bytes are not UTF-8"),
    ],
)
def test_other_types_are_no_numbers(column, row, rule):
    with pytest.raises(InvalidInput) as error:
        table(column).numbers("x")
    assert error.value.row == row
    assert rule in error.value.rule


def stamps(values: list[int | None], unit: str, zone: str | None = None) -> pa.Array:
    return pa.array(values, pa.timestamp(unit, zone))


@pytest.mark.parametrize(
    ("column", "seconds"),
    [
        (["881250949", " 881250949.9", "-1.5", "8.8e8"], [881250949, 881250949, -2, 880000000]),
        (["1970-01-02", "1970-01-01 01:00:00.75", "1970-01-01T02:00:00+02:00"], [86400, 3600, 0]),
        (["5", "1970-01-01T00:00:07Z"], [5, 7]),
        (["2500-01-01T00:00:00Z", "1969-12-31T23:59:58.5Z"], [16725225600, -2]),
        (pa.array([1.9, -0.5]), [1, -1]),
        (pa.array([date(1970, 1, 2)]), [86400]),
        (pa.array([date(1970, 1, 2)], pa.date64()), [86400]),
        (stamps([-1, 1_999], "ms"), [-1, 1]),
        (stamps([1_700_000_000_999_999_999], "ns"), [1_700_000_000]),
        # An instant is the same in every zone.
        (stamps([1_577_836_800_000_000], "us", "Asia/Tokyo"), [1_577_836_800]),
        (pa.array([b"1970-01-02", b"3"]), [86400, 3]),
        (stamps([5], "s").dictionary_encode(), [5]),
    ],
)
def test_times_are_seconds_since_1970_utc(column, seconds):
    found = table(column).seconds("x")
    assert found.dtype == np.int64
    assert found.tolist() == seconds


@pytest.mark.parametrize(
    ("column", "row", "rule"),
    [
        # 2^24 seconds are in 1970; a float of 32 bits tells times of today apart by two minutes.
        (
            pa.array([16777215.0, 1_700_000_000.0], pa.float32()),
            2,
            "the value 1700000000 of x is a 32-bit float, which is not exact to the second",
        ),
        (["1", "yesterday"], 2, "x 'yesterday' is neither seconds since 1970 nor ISO 8601"),
        (["1", "1999-02-30"], 2, "x '1999-02-30' is neither"),
        (["1", None], 2, "x (empty) is neither"),
        ([1, 881250949000], 2, "x '881250949000' is neither"),
        ([1.0, NAN], 2, "x 'nan' is neither"),
        (stamps([1, None], "s"), 2, "x (empty) is neither"),
        (pa.array([True]), 1, "x is a bool, expected seconds since 1970 or a date"),
        (pa.array([1], pa.time32("s")), 1, "x is a time32[s], expected seconds since 1970 or a date"),
    ],
)
def test_what_is_no_time_is_refused_with_its_row(column, row, rule):
    with pytest.raises(InvalidInput) as error:
        table(column).seconds("x")
    assert error.value.row == row
    assert rule in error.value.rule


@pytest.mark.parametrize(
    ("written", "step"),
    [
        ("1700000000000", "It seems to be milliseconds: divide by 1,000."),
        (1_700_000_000_000_000, "It seems to be microseconds: divide by 1,000,000."),
        (1.7e18, "It seems to be nanoseconds: divide by 1,000,000,000."),
        ("20240131123059", "Write it as 2024-01-31T12:30:59."),
        ("99999999999999999999999", ""),
        ("", ""),
        ("soon", ""),
    ],
)
def test_a_time_in_another_unit_is_named_with_it(written, step):
    with pytest.raises(InvalidInput) as error:
        table([written]).seconds("x")
    assert error.value.next_step == step


def test_names_may_be_dates_and_booleans_but_ids_may_not():
    days = table(pa.array([date(2020, 1, 1)]).dictionary_encode())
    assert days.text("x").tolist() == ["2020-01-01"]
    assert table(pa.array([True, False])).text("x").tolist() == ["true", "false"]
    with pytest.raises(InvalidInput, match="row 1: x is a date32"):
        days.ids("x")


def test_ids_of_an_extension_type_are_those_that_it_stores():
    column = pa.ExtensionArray.from_storage(pa.json_(pa.string()), pa.array(["7"]))
    assert table(column).ids("x").tolist() == ["7"]


def test_a_decimal_of_any_scale_is_written_without_an_exponent():
    column = pa.array([Decimal("5E+3")], pa.decimal128(5, -3))
    assert table(column).ids("x").tolist() == ["5000"]
    widest = pa.array([Decimal(10) ** 75], pa.decimal256(76, 0))
    assert table(widest).ids("x").tolist() == ["1" + 75 * "0"]
