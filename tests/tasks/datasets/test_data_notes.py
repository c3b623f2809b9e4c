"""A data report in words: the sentence and the setting for everything that will not work."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from data_contracts.interactions import InteractionLimits
from models.evaluation.data_report import DataReport
from tasks.datasets.data_notes import report_lines, wanted_limits, warnings_about

NOW = datetime(2026, 11, 1, tzinfo=UTC)
GOOD = DataReport(
    clients=3,
    users=1000,
    items=500,
    interactions=20000,
    used_items=480,
    density=0.04,
    history_quantiles=(3.0, 8.0, 15.5, 30.0, 200.0),
    evaluated_users=1000,
    tied_users=10,
    ties_by_item=False,
    small_clients=0,
    unevaluated_clients=0,
    ratings=(0.5, 5.0),
    times=(0, 1_700_000_000),
)


def test_good_data_have_facts_and_no_warnings():
    assert warnings_about(GOOD, NOW) == []
    assert report_lines(replace(GOOD, repeats=12)) == [
        "20,000 interactions of 1,000 users with 480 of 500 items: density 4.00%",
        "history lengths: 3 to 200, median 15.5, the middle half 8 to 30",
        "evaluated: 1,000 of 1,000 users, who have at least 3 interactions",
        "ratings: 0.5 to 5",
        "times: 1970-01-01 to 2023-11-14",
        "repeats: 12 rows were merged with another of the same user and item",
    ]
    assert len(report_lines(replace(GOOD, ratings=None, times=None))) == 3


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"ratings": (-9.0, 9.0)},
            ["from -9 to 9", "accepts 0 to 10", "--set contracts.interactions.min_rating=-9.0."],
        ),
        ({"ratings": (1.0, 100.0)}, ["Train with --set contracts.interactions.max_rating=100.0."]),
        (
            {"ratings": (-1.0, 100.0)},
            ["contracts.interactions.min_rating=-1.0 --set contracts.interactions.max_rating=100.0"],
        ),
        ({"ratings": (1.0, 1.0)}, ["All ratings are 1", "bayesian_mf"]),
        ({"ratings": None}, ["no ratings", "bayesian_mf"]),
        ({"times": None, "tied_users": None}, ["no timestamps", "random interaction", "next_item"]),
        ({"times": (-86400, 9)}, ["begin at 1969-12-31", "contracts.interactions.min_timestamp=-86400"]),
        ({"times": (0, 1_900_000_000)}, ["end at 2030-03-17", "in the future", "another unit"]),
        (
            {"times": (20240131, 20240201), "times_like": "dates"},
            ["looks like a date, such as 20240131", "1970-08-23", "Write dates as 2024-01-31."],
        ),
        (
            {"times": (2019, 2024), "times_like": "years"},
            ["looks like a year, such as 2019", "1970-01-01", "Write dates as 2019-01-01."],
        ),
        ({"times": (202401, 202412), "times_like": "months"}, ["a month", "Write dates as 2024-01-01."]),
        (
            {"times": (2024013112, 2024020100), "times_like": "hours of dates"},
            ["a date with its hour, such as 2024013112", "Write dates as 2024-01-31T12:00."],
        ),
        (
            {"times": (202401311259, 202402010000), "times_like": "minutes of dates"},
            ["a date with its time", "Write dates as 2024-01-31T12:59."],
        ),
        (
            {"times": (19700, 19800), "times_like": "days"},
            ["looks like days since 1970, such as 19700", "(1970-01-01)", "Multiply by 86,400."],
        ),
        (
            {"times": (45292, 45300), "times_like": "Excel days"},
            ["a day of Excel, such as 45292", "Subtract 25,569, then multiply by 86,400."],
        ),
        ({"times": (473352, 473400), "times_like": "hours"}, ["hours since 1970", "Multiply by 3,600."]),
        (
            {"times": (28401120, 28401200), "times_like": "minutes"},
            ["minutes since 1970", "1970-11-25", "Multiply by 60."],
        ),
        ({"tied_users": 51}, ["51 of 1,000 evaluated users", "The later row counts as the later"]),
        ({"tied_users": 51, "ties_by_item": True}, ["sorted by item, which changes what is measured"]),
        ({"evaluated_users": 990}, ["10 of 1,000 users have fewer than 3", "not evaluated"]),
        (
            {"evaluated_users": 0, "tied_users": 0, "unevaluated_clients": 3},
            ["No user has 3 interactions", "nothing"],
        ),
        ({"unevaluated_clients": 1}, ["1 of 3 clients has no user who can be evaluated"]),
        ({"small_clients": 2}, ["2 of 3 clients have fewer than 5 users", "single user"]),
    ],
)
def test_what_will_not_work_is_one_sentence_with_its_setting(changes, words):
    report = replace(GOOD, **changes)
    (warning,) = warnings_about(report, NOW)
    for each in words:
        assert each in warning


def test_the_limits_that_data_need_are_settings_of_a_job():
    assert wanted_limits(GOOD) == {}
    assert wanted_limits(replace(GOOD, ratings=(-1.0, 99.5), times=(-5, 0))) == {
        "min_rating": -1.0,
        "max_rating": 99.5,
        "min_timestamp": -5,
    }
    assert wanted_limits(replace(GOOD, ratings=None, times=None)) == {}


def test_the_limits_are_those_of_the_contract():
    limits = InteractionLimits()
    assert warnings_about(replace(GOOD, ratings=(limits.min_rating, limits.max_rating)), NOW) == []
    assert warnings_about(replace(GOOD, times=(limits.min_timestamp, 1)), NOW) == []


def test_times_beyond_the_calendar_are_shown_as_seconds():
    (warning,) = warnings_about(replace(GOOD, times=(-(10**11), 0)), NOW)
    assert "Times begin at -100000000000 s" in warning
    # A day is for clocks that differ.
    assert warnings_about(replace(GOOD, times=(0, int(NOW.timestamp()) + 86_000)), NOW) == []
