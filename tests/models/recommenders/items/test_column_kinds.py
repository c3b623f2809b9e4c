"""What a column of a catalogue is judged to hold, whatever its type and wherever it comes from."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from models.recommenders.items.cells import ColumnRefused, text_of
from models.recommenders.items.column_kinds import judge_column

NAN = float("nan")
PROSE = [
    "A boy and his toys, who live when nobody looks.",
    "Two cops chase one case through the night!",
    "A shark frightens an island in summer and three men go out to kill it",
    "Rain",
]


def labels_of(cells, split=None):
    judged = judge_column(cells, split)
    assert judged.kind == "labels", judged
    assert judged.numbers is None
    return list(judged.labels)


def numbers_of(cells, kind="numbers"):
    judged = judge_column(cells)
    assert judged.kind == kind, judged
    assert judged.labels is None
    return [None if np.isnan(number) else number for number in judged.numbers.tolist()]


@pytest.mark.parametrize(
    ("cells", "numbers"),
    [
        # A short float is the number that it is written as.
        ([np.float32(1.1), None, np.float16(0.1)], [1.1, None, 0.1]),
        ([9007199254740991, -9007199254740991], [9007199254740991.0, -9007199254740991.0]),
        # Floats may be as great as they like: what was lost in them is lost.
        ([1e20, 2.0**53], [1e20, 2.0**53]),
        (["12.50", " 7 ", "", "-1e3"], [12.5, 7.0, None, -1000.0]),
        ([12.5, 7.0, NAN, -1000.0], [12.5, 7.0, None, -1000.0]),
        ([1, None, 3], [1.0, None, 3.0]),
        ([np.int64(1), np.float32(0.5), pd.NA], [1.0, 0.5, None]),
        ([Decimal("12.50"), Decimal("NaN"), None], [12.5, None, None]),
        (["1995", "unknown", "N/A", "nan", "1996"], [1995.0, None, None, None, 1996.0]),
        ([".5", "5.", "+3"], [0.5, 5.0, 3.0]),
        (["0", "0.5", "10"], [0.0, 0.5, 10.0]),
    ],
)
def test_numbers_are_numbers_in_text_and_in_types(cells, numbers):
    assert numbers_of(cells) == numbers
    assert judge_column(cells).missing == numbers.count(None)


@pytest.mark.parametrize("cells", [["-0.0", "1.5"], ["-0", "1.5"], [-0.0, 1.5], [np.float32(-0.0), 1.5]])
def test_there_is_one_zero_in_text_and_in_types(cells):
    numbers = judge_column(cells).numbers
    assert numbers.tolist() == [0.0, 1.5]
    assert not np.signbit(numbers).any()


@pytest.mark.parametrize(
    ("cells", "dates"),
    [
        (["1995-03-21", "", "2001-12-01T10:00:00Z"], [19950321.0, None, 20011201.0]),
        ([dt.date(1995, 3, 21), None], [19950321.0, None]),
        ([pd.Timestamp("1995-03-21 23:30", tz="Europe/Berlin"), pd.NaT], [19950321.0, None]),
        ([np.datetime64("1995-03-21T10:00", "ns"), np.datetime64("NaT")], [19950321.0, None]),
        ([dt.datetime(9999, 12, 31, 23, 59)], [99991231.0]),
    ],
)
def test_dates_are_numbers_that_people_can_read(cells, dates):
    assert numbers_of(cells, "dates") == dates


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        # Never at blanks.
        (["Brand 5", "Science Fiction", None], [("Brand 5",), ("Science Fiction",), ()]),
        (["Action, Science Fiction", "Comedy, Drama"], [("Action", "Science Fiction"), ("Comedy", "Drama")]),
        # A comma belongs to the label in a column that uses bars.
        (["Crime|Film Noir", "Warner, Inc", " "], [("Crime", "Film Noir"), ("Warner, Inc",), ()]),
        (["War | Drama||War", "|"], [("War", "Drama"), ()]),
        (["Sci-Fi", "Film-Noir"], [("Sci-Fi",), ("Film-Noir",)]),
        (["28,12,16", "18"], [("28", "12", "16"), ("18",)]),
        # Words that programs write for missing values, and others.
        (["Action", "unknown", "None", "NaN", "null", "<NA>"], [("Action",), ("unknown",), (), (), (), ()]),
        (["NA", "EU", "-", "Nothing"], None),
        (["Action|null", "nan|War", "None|NaN"], [("Action",), ("War",), ()]),
        # Codes keep their zeros.
        (["007", "010", "7"], [("007",), ("010",), ("7",)]),
        (["00501", "unknown", "90210"], [("00501",), (), ("90210",)]),
        # A float would make each of them equal to its neighbour.
        (["9007199254740993", "9007199254740992", "7"], None),
        ([2**63, -(2**53), None], [("9223372036854775808",), ("-9007199254740992",), ()]),
        ([Decimal("1234567890123456789"), Decimal(1)], [("1234567890123456789",), ("1",)]),
        (["1" * 50, "2" * 50], None),
        (["True", "false", "nan"], [("true",), ("false",), ()]),
        ([True, np.False_, None], [("true",), ("false",), ()]),
        (["1989", "Thriller", "25", "Let it be"], [("1989",), ("Thriller",), ("25",), ("Let it be",)]),
        (["[REC]", "Alien"], [("[REC]",), ("Alien",)]),
        (["21/03/1995", "1.2.3"], [("21/03/1995",), ("1.2.3",)]),
        (["Electronics > Computers & Accessories > Cables", "Books"], None),
        (["The Walt Disney Company", "A24"], None),
        (["550e8400-e29b-41d4-a716-446655440000", "c0ffee00-ab-cd-ef-a7"], None),
        # An accent may be a letter of its own.
        (["Cafe\u0301", "Caf\u00e9"], [("Caf\u00e9",), ("Caf\u00e9",)]),
    ],
)
def test_text_is_split_at_bars_or_commas(cells, labels):
    assert labels_of(cells) == (labels or [(cell,) for cell in cells])


@pytest.mark.parametrize(
    "lists",
    [
        [["War", "a|b", "War"], [], None, ["x, y", None, " ", NAN]],
        [np.array(["War", "a|b"], dtype=object), np.array([]), None, ("x, y",)],
        ["['War', 'a|b', 'War']", "[]", "", "['x, y', None]"],
        ['["War", "a|b"]', "nan", "None", '["x, y"]'],
    ],
)
def test_lists_are_labels_each_once_and_none_is_split(lists):
    assert labels_of(lists) == [("War", "a|b"), (), (), ("x, y",)]
    assert judge_column(lists).missing == 2


def test_lists_hold_numbers_truths_and_dates_as_text():
    assert labels_of([[28, 12.0, 0.5], [True], [dt.date(1995, 3, 21)]]) == [
        ("28", "12", "0.5"),
        ("true",),
        ("1995-03-21",),
    ]
    assert labels_of([{"a"}, frozenset({"b"})]) == [("a",), ("b",)]


COMPANIES = [f"Company {number}" for number in range(40)]


@pytest.mark.parametrize(
    "cells",
    [
        # A comma in a few names.
        [*COMPANIES, "Smith, Wesson & Co"],
        [*COMPANIES, "Smith, Wesson & Co", "O'Neill, Inc.", "Smith, Wesson & Co", "Barnes, Inc."],
        ["Acme", "Bolt", "Smith, Wesson & Co", "Cork", "Acme"],
        # One end is another in each of them.
        [f"{name}, Inc." for name in COMPANIES],
        [f"Town {number}, {('AL', 'AK', 'AZ')[number % 3]}" for number in range(40)],
        [f"Name {number}, {('Ann', 'Bob', 'Eve')[number % 3]}" for number in range(40)],
        # In a third of few names.
        ["Smith, Wesson & Co", "Foo, Inc.", "Acme", "Bolt", "Cork", "Dunn"],
        # A part is a name of its own, too.
        [*COMPANIES, "Company 7, Ltd"],
        # The same holds for bars.
        [*COMPANIES, "Left | Right"],
    ],
)
def test_a_separator_in_names_separates_nothing(cells):
    twice = [*cells, *cells]
    assert labels_of(twice) == [(cell,) for cell in twice]
    separator = "|" if "|" in cells[-1] else ","
    assert judge_column(twice).separator is None
    assert judge_column(twice).unsplit == (separator, sum(separator in cell for cell in twice))
    assert judge_column(twice, separator).separator == separator


GENRES = ["Action", "Comedy", "Drama", "War"]


@pytest.mark.parametrize("separator", [", ", "|"])
@pytest.mark.parametrize(
    "lists",
    [
        # One list among many single labels.
        [*([genre] for genre in GENRES * 10), ["Action", "War"]],
        # Lists alone, too many for chance.
        [[one, other] for one in GENRES for other in GENRES if one != other],
        # Casts, whose names mostly differ.
        [[f"Star {film % 9}", f"Actor {film}", f"Extra {film}"] for film in range(60)],
        # Too few to tell.
        [["Action", "War"], ["Comedy"]],
        [["Action", "War"], ["Action"], ["Drama"]],
    ],
)
def test_a_separator_between_labels_splits_them(lists, separator):
    judged = judge_column([separator.join(own) for own in lists])
    assert (judged.kind, judged.separator, judged.unsplit) == ("labels", separator.strip(), None)
    assert list(judged.labels) == [tuple(own) for own in lists]


def test_a_bar_in_a_tenth_of_few_texts_splits_them():
    others = [(name,) for name in COMPANIES[:9]]
    assert labels_of(["War|Drama", *COMPANIES[:9]]) == [("War", "Drama"), *others]
    assert judge_column(["War|Drama", *COMPANIES[:10]]).separator is None


def test_the_judgement_about_a_separator_depends_on_neither_order_nor_frequency():
    cells = [*COMPANIES, "Smith, Sons", *(f"Other {name}, Inc." for name in COMPANIES[:15])]
    for others in (cells[::-1], cells + 500 * ["Smith, Sons"], sorted(cells)):
        assert judge_column(others).separator is None
    lists = [", ".join(pair) for pair in pairwise(GENRES)]
    for others in (lists[::-1], [*lists, *["War"] * 500], sorted([*GENRES, *lists])):
        assert judge_column(others).separator == ","


def vectors(width: int, digits: int) -> list[list[float]]:
    generator = np.random.default_rng(7)
    return [[round(float(each), digits) for each in row] for row in generator.normal(size=(40, width))]


@pytest.mark.parametrize(
    "cells",
    [
        vectors(8, 16),
        # Rounded, so that numbers occur again, also in one vector.
        vectors(8, 1),
        [*vectors(128, 3), None],
        [np.array(own, dtype=np.float32) for own in vectors(8, 16)],
        [str(own) for own in vectors(8, 6)],
        [" ".join(map(str, own)) for own in vectors(8, 6)],
        [",".join(map(str, own)) for own in vectors(8, 6)],
        ["|".join(map(str, own)) for own in vectors(8, 6)],
        [str(np.array(own)) for own in vectors(8, 6)],
        # Of different lengths.
        [own[: 3 + place % 5] for place, own in enumerate(vectors(8, 16))],
        # Whole numbers: an embedding of bytes.
        [[round(100 * each) for each in own] for own in vectors(32, 2)],
    ],
)
def test_lists_of_measured_numbers_are_no_labels(cells):
    judged = judge_column(cells)
    assert (judged.kind, judged.missing) == ("vectors", sum(cell is None for cell in cells))
    assert judged.labels is None
    assert judge_column(cells, "none").kind == "labels"


def test_lists_of_few_numbers_are_labels():
    # Ids of genres, and sizes of shoes.
    assert labels_of([[28, 12], [18]]) == [("28", "12"), ("18",)]
    assert labels_of([[8.5, 9], [8.5, 9, 9.5], [9.5]]) == [("8.5", "9"), ("8.5", "9", "9.5"), ("9.5",)]
    assert labels_of([[0.5], [0.7], [0.5]]) == [("0.5",), ("0.7",), ("0.5",)]


@pytest.mark.parametrize(
    ("cells", "split", "labels"),
    [
        (["Smith, John", "Doe, Jane"], "none", [("Smith, John",), ("Doe, Jane",)]),
        (["Action;Free to Play", "Indie"], ";", [("Action", "Free to Play"), ("Indie",)]),
        (["a b", "c"], " ", [("a", "b"), ("c",)]),
        (["a|b", "c"], "none", [("a|b",), ("c",)]),
        # Numbers that are codes. Only a whole column of numbers loses the ".0" that gaps bring.
        ([7, 12, None], "none", [("7",), ("12",), ()]),
        (["7.0", "12.0", ""], "none", [("7",), ("12",), ()]),
        (["7.0", "beta"], "none", [("7.0",), ("beta",)]),
        (PROSE[:2], "none", [(PROSE[0],), (PROSE[1],)]),
    ],
)
def test_an_option_says_how_a_column_is_split(cells, split, labels):
    judged = judge_column(cells, split)
    assert (judged.kind, list(judged.labels)) == ("labels", labels)
    assert judged.separator == (None if split == "none" else split)


def test_long_texts_are_not_labels():
    assert judge_column([*PROSE, None]).kind == "text"
    assert judge_column([*PROSE, None]).missing == 1
    assert judge_column(["https://x.org/1.png", "https://x.org/2.png"]).kind == "text"
    assert judge_column(["first line\nsecond", "another\nline"]).kind == "text"
    assert judge_column([[text] for text in PROSE]).kind == "text"
    assert judge_column([str([text, "https://x.org/1"]) for text in PROSE]).kind == "text"
    assert judge_column([[text] for text in PROSE], "none").kind == "labels"
    # A language without blanks between its words.
    assert judge_column(["字" * 70, "文" * 80]).kind == "text"


def test_a_number_of_any_length_is_judged():
    assert judge_column(["1" * 5000]).kind == "text"


def test_many_short_labels_are_not_prose():
    tags = ["Single-player, Online Co-op, Steam Trading Cards, Partial Controller Support, Cloud Saves"]
    assert len(labels_of([*tags, "Single-player"])[0]) == 5
    # A text that items share is a label, though it is long.
    assert labels_of(["Fits true to size, so order your own."] * 4)[0] == (
        "Fits true to size",
        "so order your own.",
    )


def test_labels_that_no_two_of_many_items_share_are_identifiers():
    codes = [f"A{number}" for number in range(100)]
    assert judge_column([f"{number:05}" for number in range(100)]).kind == "identifiers"
    assert judge_column([2**53 + number for number in range(100)]).kind == "identifiers"
    assert judge_column(codes).kind == "identifiers"
    assert judge_column(codes[:99]).kind == "labels"
    assert judge_column([*codes, "A7"]).kind == "labels"
    assert judge_column(codes, "none").kind == "labels"
    assert judge_column([[code, f"{code}x"] for code in codes]).kind == "identifiers"
    assert judge_column([f"['{code}']" for code in codes]).kind == "identifiers"
    assert judge_column([[code] for code in codes], "none").kind == "labels"


@pytest.mark.parametrize(
    "cells",
    [
        [],
        [None, NAN],
        ["", "  "],
        [[], None],
        ["[]", "[None]"],
        ["|", " | "],
        ["nan", "None"],
        [["null"], "NaT"],
    ],
)
def test_a_column_without_values_is_empty(cells):
    judged = judge_column(cells)
    assert (judged.kind, judged.missing) == ("empty", len(cells))


MOSTLY = [*"123456789"]


@pytest.mark.parametrize(
    ("cells", "position", "rule"),
    [
        ([None, b"PNG"], 1, "holds bytes"),
        ([{"a": 1}], 0, "holds structures"),
        ([[{"a": 1}]], 0, "holds structures"),
        ([["a"], [["b"]]], 1, "holds lists of lists"),
        ([dt.time(10, 0)], 0, "holds values of type time"),
        ([pd.Timedelta("1h")], 0, "holds values of type Timedelta"),
        ([[b"x"]], 0, "holds bytes"),
        ([["a"], "b"], 1, "holds lists, but also 'b'"),
        (["[{'id': 28, 'name': 'Action'}]"], 0, "is not a flat list"),
        (["1", "inf"], 1, "infinite"),
        ([1.0, NAN, float("-inf")], 2, "infinite"),
        (["1e999"], 0, "infinite"),
        ([*MOSTLY, "12 pieces"], 9, "numbers in 9 of 10 cells, but not '12 pieces'"),
        ([*["1995-01-01"] * 9, "1995-02-30"], 9, "dates in 9 of 10 cells, but not '1995-02-30'"),
        ([*["['a']"] * 9, "b"], 9, "lists in 9 of 10 cells, but not 'b'"),
        (["12", "1,299.00"], 1, "'1,299.00' has more than digits"),
        (["$12.99", "$7"], 0, r"'\$12.99' has more than digits"),
        (["12,50", "n/a", "7,00 EUR"], 0, "'12,50' has more than digits"),
        (["5%", "10 %"], 0, "'5%' has more than digits"),
        # In books, these are negative.
        (["(5)", "(6)", None], 0, r"'\(5\)' has more than digits"),
        (["12.50", "(12.50)", "7", "$ (3)"], 1, r"'\(12.50\)' has more than digits"),
        (["($5.00)", "7"], 0, r"'\(\$5.00\)' has more"),
        (["5-", "7"], 0, "'5-' has more than digits"),
        (["-$5", "7"], 0, r"'-\$5' has more than digits"),
        (["1 299", "2 000"], 0, "'1 299' has more than digits"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_cell(cells, position, rule):
    with pytest.raises(ColumnRefused, match=rule) as caught:
        judge_column(cells)
    assert caught.value.position == position


def test_a_list_cannot_be_split():
    with pytest.raises(ColumnRefused, match="cannot be split at ','") as caught:
        judge_column([["a"]], ",")
    assert caught.value.position is None


def test_a_judged_column_is_judged_the_same_again():
    for cells in (["a, b", "c"], ["1", ""], ["007", "1"], ["True", ""], ["1995-01-02"], ["['a', 'b|c']"]):
        once = judge_column(cells)
        again = judge_column(list(once.numbers) if once.labels is None else [*map(list, once.labels)])
        assert again.labels == once.labels
        assert again.missing == once.missing
        if once.numbers is not None:
            assert again.numbers.tobytes() == once.numbers.tobytes()


def test_a_text_is_not_a_list():
    assert [text_of(cell, 0) for cell in (" A ", 7.0, None, "")] == ["A", "7", None, None]
    with pytest.raises(ColumnRefused, match="holds lists"):
        text_of(["A"], 0)
