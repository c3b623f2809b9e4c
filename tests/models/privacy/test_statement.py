"""What people see of an account."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models.ledger.chain import Entry, follow
from models.privacy.account import Account, Reservation, account_of
from models.privacy.account import reservation_body as reserve
from models.privacy.account import reset_body as reset
from models.privacy.account import settlement_body as settle
from models.privacy.mechanisms import Mechanism, epsilon_of
from models.privacy.statement import JobLine, budget_lines, budget_text, job_lines

DELTA = 1e-5
FOUR, ONE = Mechanism(4.0), Mechanism(8.0)
ASKED = Reservation("job-a", "a.yaml", "shops", (FOUR,), epsilon=1.0, delta=DELTA, budget=3.0, period="month")
OCTOBER, NOVEMBER = (f"2026-{month}-15T12:00:00+00:00" for month in (10, 11))


def account(*bodies: dict) -> Account:
    entries: list[Entry] = []
    for body in bodies:
        entries.append(follow(entries[-1] if entries else None, body))
    return account_of("users", "privacy account 'users'", entries)


def test_an_account_without_entries_has_no_lines():
    assert (budget_lines(account(), NOVEMBER), job_lines(account())) == ([], [])


def test_each_period_has_the_budget_of_its_newest_reservation():
    ever = replace(ASKED, job_id="job-b", period="ever", budget=9.0)
    higher = replace(ASKED, job_id="job-c", budget=5.0, delta=1e-6)
    found = budget_lines(
        account(
            reserve(ASKED, OCTOBER),
            reserve(ever, OCTOBER),
            reserve(higher, OCTOBER),
            settle("job-a", (FOUR,), "5" * 64, OCTOBER),
            settle("job-c", (ONE,), "5" * 64, NOVEMBER),
        ),
        NOVEMBER,
    )
    assert [(each.period, each.current, each.budget, each.delta) for each in found] == [
        ("ever", "", 9.0, 1e-6),
        ("month", "2026-11", 5.0, 1e-6),
    ]
    # The second job is not settled, so it counts in each month. The first one was settled in October.
    assert found[0].spent == pytest.approx(epsilon_of([FOUR, FOUR, ONE], 1e-6))
    assert found[1].spent == pytest.approx(epsilon_of([FOUR, ONE], 1e-6))
    assert all(each.budget - each.spent < each.left < each.budget for each in found)


def test_each_job_has_what_counts_for_it_and_why():
    second, third = (
        replace(ASKED, job_id="job-b"),
        replace(ASKED, job_id="job-c", config_name="c.yaml", budget=9.0),
    )
    found = job_lines(
        account(
            reserve(ASKED, OCTOBER),
            reset("Ada", "other people", OCTOBER),
            reserve(second, OCTOBER),
            reserve(third, OCTOBER),
            settle("job-b", (ONE,), "5" * 64, NOVEMBER),
        )
    )
    four, one = epsilon_of([FOUR], DELTA), epsilon_of([ONE], DELTA)
    assert found == [
        JobLine("job-a", "a.yaml", "shops", "user", four, DELTA, 3.0, "month", "before a reset", OCTOBER),
        JobLine("job-c", "c.yaml", "shops", "user", four, DELTA, 9.0, "month", "reserved", OCTOBER),
        JobLine("job-b", "a.yaml", "shops", "user", one, DELTA, 3.0, "month", "settled", NOVEMBER),
    ]


def test_after_a_reset_the_budget_is_whole_again():
    (found,) = budget_lines(account(reserve(ASKED, OCTOBER), reset("Ada", "other people", OCTOBER)), OCTOBER)
    assert (found.spent, found.left) == (0.0, pytest.approx(3.0))


def test_a_budget_is_for_a_period_or_for_all_time():
    assert [budget_text(20.0, period) for period in ("year", "month", "ever")] == [
        "20 a year",
        "20 a month",
        "20",
    ]
