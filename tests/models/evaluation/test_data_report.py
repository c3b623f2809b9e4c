"""The counts of a data report, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.data_report import report_on

# Users 0 to 3 have 4, 3, 1 and 2 interactions; clients are {0, 3}, {1} and {2}.
USERS = np.array([0, 0, 1, 0, 2, 1, 0, 3, 1, 3])
ITEMS = np.array([0, 1, 0, 2, 4, 1, 3, 0, 2, 1])
CLIENTS = np.array([0, 1, 2, 0])
# User 0 ends with a tie, user 1 does not, and the tie of user 3 is not evaluated.
TIMES = np.array([10, 50, 5, 50, 9, 7, 20, 8, 8, 8])
RATINGS = np.array([1.0, 5.0, -2.5, 3, 3, 3, 3, 3, 3, 3])


def test_a_report_counts_what_can_be_trained_and_evaluated():
    found = report_on(USERS, ITEMS, CLIENTS, 8, timestamps=TIMES, ratings=RATINGS, repeats=3)
    assert (found.clients, found.users, found.items, found.interactions) == (3, 4, 8, 10)
    assert (found.used_items, found.density) == (5, 10 / 32)
    # Of 1, 2, 3 and 4.
    assert found.history_quantiles == (1.0, 1.75, 2.5, 3.25, 4.0)
    assert (found.evaluated_users, found.tied_users, found.ties_by_item) == (2, 1, False)
    assert (found.small_clients, found.unevaluated_clients) == (3, 1)
    assert (found.ratings, found.times, found.repeats) == ((-2.5, 5.0), (5, 50), 3)
    assert found.times_like is None


def test_without_times_and_ratings_there_is_nothing_about_them():
    found = report_on(USERS, ITEMS, CLIENTS, 8)
    assert (found.tied_users, found.times, found.ratings, found.repeats) == (None, None, None, 0)
    assert not found.ties_by_item


def test_clients_of_five_users_are_not_small():
    users = np.repeat(np.arange(9), 3)
    found = report_on(users, np.tile([0, 1, 2], 9), np.array([0] * 5 + [1] * 4), 3)
    assert (found.small_clients, found.unevaluated_clients, found.evaluated_users) == (1, 0, 9)


UP, DOWN = [9, 1, 2, 3], [0, 3, 2, 1]


def sorted_ties(*orders: list[int]) -> bool:
    """Return whether ties are found sorted, if each user has one earlier item and then three tied ones."""
    users, times = np.repeat(np.arange(len(orders)), 4), np.tile([1, 2, 2, 2], len(orders))
    found = report_on(users, np.concatenate(orders), np.zeros(len(orders), int), 10, timestamps=times)
    assert found.tied_users == len(orders)
    return found.ties_by_item


def test_ties_in_the_order_of_the_items_are_found():
    # Ten users have twenty pairs of tied neighbours; fewer are too few to say so.
    assert sorted_ties(*[UP] * 10)
    assert sorted_ties(*[DOWN] * 10)
    assert not sorted_ties(*[UP] * 9)
    assert not sorted_ties(*[UP, DOWN] * 10)
    # 39 of 40 pairs, and 36 of 40.
    assert sorted_ties(*[UP] * 19, [9, 1, 3, 2])
    assert not sorted_ties(*[UP] * 18, DOWN, DOWN)


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([20240101, 20231231, 19000101], "dates"),
        # Not all of them are dates; as minutes since 1970 they are in the year 2008.
        ([20240101, 20240100, 20240102], "minutes"),
        ([20240101, 20241301, 20240102], "minutes"),
        ([20240101, 20240132, 20240102], "minutes"),
        ([20240101, 20240001, 20240102], "minutes"),
        ([20240101, 1_700_000_000, 20240102], None),
        ([20240101, 99, 20240102], None),
        ([1900, 2024, 2100], "years"),
        ([1899, 2024, 2024], None),
        ([202401, 202412, 199001], "months"),
        ([202401, 202413, 199001], "hours"),
        ([2024013112, 2024013123, 1990010100], "hours of dates"),
        ([2024013112, 2024013124, 1990010100], None),
        ([202401311259, 202401310000, 199001010000], "minutes of dates"),
        ([202401311260, 202401310000, 199001010000], None),
        # 2023-12-09 and later days, 2024-01-01 in Excel, 2024-01-01 00:00 and 2023-12-31 12:00.
        ([19700, 19701, 20000], "days"),
        ([45292, 45293, 36526], "Excel days"),
        ([473352, 473353, 400000], "hours"),
        ([28401120, 28400400, 28400401], "minutes"),
        # Seconds, and the places of events in an order.
        ([1_700_000_000, 1_700_086_400, 881_250_949], None),
        ([0, 1, 2], None),
        ([10, 2000, 30000], None),
        ([-1, -20240101, 0], None),
    ],
)
def test_times_in_another_form_than_seconds_are_recognised(times, expected):
    found = report_on(np.zeros(3, int), np.arange(3), np.zeros(1, int), 3, timestamps=np.array(times))
    assert found.times_like == expected
