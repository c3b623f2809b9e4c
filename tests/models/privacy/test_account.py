"""What an account counts: never less than jobs may have released."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import BudgetExceeded, InvalidInput, LedgerTampered
from models.ledger.chain import Entry, follow
from models.privacy.account import (
    Account,
    Reservation,
    account_of,
    left_of,
    reservation_body,
    reset_body,
    settlement_body,
)
from models.privacy.mechanisms import Mechanism, epsilon_of

DELTA = 1e-5
# Four of them together cost as much as one of half the multiplier.
ONE = Mechanism(8.0)
FOUR = Mechanism(4.0)
MODEL = "5" * 64
ASKED = Reservation("job-a", "shops.yaml", "shops", (FOUR,), epsilon=1.0, delta=DELTA, budget=3.0)
OCTOBER, NOVEMBER, DECEMBER = (f"2026-{month}-15T12:00:00+00:00" for month in (10, 11, 12))


def account(*bodies: dict[str, Any]) -> Account:
    entries: list[Entry] = []
    for body in bodies:
        entries.append(follow(entries[-1] if entries else None, body))
    return account_of("users", "privacy account 'users'", entries)


def reserved(job_id: str = "job-a", at: str = NOVEMBER, *mechanisms: Mechanism) -> dict[str, Any]:
    return reservation_body(replace(ASKED, job_id=job_id, mechanisms=mechanisms or (FOUR,)), at)


def settled(job_id: str = "job-a", at: str = NOVEMBER, *mechanisms: Mechanism) -> dict[str, Any]:
    return settlement_body(job_id, mechanisms, MODEL, at)


def test_an_account_without_entries_has_spent_nothing():
    empty = account()
    assert (empty.spent("ever", NOVEMBER), empty.resets, empty.at) == ([], (), "")
    assert empty.needs(ASKED, NOVEMBER)


def test_a_reservation_counts_in_full_until_it_is_settled():
    open_ = account(reserved())
    assert open_.spent("ever", NOVEMBER) == [FOUR]
    assert (open_.jobs["job-a"].reservation, open_.jobs["job-a"].settled) == (ASKED, False)
    done = account(reserved(), settled("job-a", DECEMBER, ONE))
    assert done.spent("ever", DECEMBER) == [ONE]
    assert (done.jobs["job-a"].settled, done.jobs["job-a"].at, done.at) == (True, DECEMBER, DECEMBER)


def test_a_job_that_released_nothing_costs_nothing():
    assert account(reserved(), settled()).spent("ever", NOVEMBER) == []


def test_a_job_reserves_once():
    assert not account(reserved()).needs(ASKED, NOVEMBER)
    # Worked out by another version of a library, a multiplier may differ in its last digits.
    nearly = replace(ASKED, mechanisms=(Mechanism(4.0 * (1 - 1e-12)),))
    assert not account(reserved()).needs(nearly, NOVEMBER)
    assert not account(reserved(), settled("job-a", NOVEMBER, FOUR)).needs(ASKED, NOVEMBER)


def test_a_job_that_goes_on_after_a_settlement_or_reset_reserves_again():
    stopped = account(reserved(), settled("job-a", NOVEMBER, ONE))
    assert stopped.needs(ASKED, NOVEMBER)
    assert account(reserved(), settled("job-a", NOVEMBER, ONE), reserved()).spent("ever", NOVEMBER) == [FOUR]
    assert account(reserved(), reset_body("Ada", "other people", NOVEMBER)).needs(ASKED, NOVEMBER)


def test_what_a_job_has_reserved_already_is_not_counted_twice_against_the_budget():
    alone = epsilon_of([FOUR], DELTA)
    tight = replace(ASKED, budget=alone * 1.001)
    stopped = account(reserved(), settled("job-a", NOVEMBER, ONE))
    assert stopped.needs(tight, NOVEMBER)
    with pytest.raises(BudgetExceeded):
        stopped.needs(replace(tight, job_id="job-b"), NOVEMBER)


def test_a_job_beyond_the_budget_is_refused_with_all_figures_and_a_lower_epsilon_that_fits():
    found = account(reserved(), reserved("job-b"))
    asked = replace(ASKED, job_id="job-c", budget=1.5, period="month")
    with pytest.raises(BudgetExceeded) as caught:
        found.needs(asked, NOVEMBER)
    error = caught.value
    spent = epsilon_of([FOUR, FOUR], DELTA)
    assert (error.account, error.period, error.budget, error.asked) == ("users", "month", 1.5, 1.0)
    assert error.spent == pytest.approx(spent)
    for part in (
        "'users'",
        f"{spent:.4g}",
        "budget of 1.5 in the month 2026-11",
        "1e-05",
        "job-c",
        "asks for 1",
    ):
        assert part in error.what
    assert "wait for the next month" in error.next_step
    assert f"at most {math.floor(error.left * 1000) / 1000}" in error.next_step
    lower = epsilon_of([FOUR, FOUR, Mechanism(multiplier(error.left))], DELTA)
    assert lower == pytest.approx(1.5, rel=1e-3)


def multiplier(epsilon: float) -> float:
    """Return the noise multiplier of this epsilon alone, by bisection."""
    low, high = 0.1, 1e4
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if epsilon_of([Mechanism(middle)], DELTA) > epsilon else (low, middle)
    return high


def test_without_a_rest_no_lower_epsilon_is_proposed():
    found = account(reserved("job-b", NOVEMBER, Mechanism(1.0)))
    with pytest.raises(BudgetExceeded) as caught:
        found.needs(ASKED, NOVEMBER)
    assert caught.value.left == 0.0
    assert "at most" not in caught.value.next_step
    assert "next ever" not in caught.value.next_step
    assert caught.value.next_step.startswith("Raise privacy.budget")


def test_a_refusal_by_a_little_shows_that_it_is_one():
    found = account(reserved())
    together = epsilon_of([FOUR, FOUR], DELTA)
    for budget in (together - 1e-7, together - 0.1):
        with pytest.raises(BudgetExceeded) as caught:
            found.needs(replace(ASKED, job_id="job-b", budget=budget), NOVEMBER)
        shown = caught.value.what.rpartition(" ")[2].removesuffix(".")
        assert float(shown) > budget
        assert float(shown) == pytest.approx(together, abs=1e-3)


def test_more_is_left_than_the_difference_because_noise_adds_up_less_fast():
    spent = epsilon_of([FOUR], DELTA)
    assert 3.0 - spent < left_of(3.0, DELTA, [FOUR]) < 3.0
    assert left_of(3.0, DELTA, []) == pytest.approx(3.0)


def test_a_period_counts_what_was_settled_in_it_and_all_that_is_open():
    bodies = [
        reserved("job-a", OCTOBER, ONE),
        settled("job-a", OCTOBER, ONE),
        reserved("job-b", OCTOBER, Mechanism(5.0)),
        reserved("job-c", OCTOBER, Mechanism(6.0)),
        settled("job-c", NOVEMBER, Mechanism(7.0)),
    ]
    found = account(*bodies)
    assert found.spent("month", OCTOBER) == [ONE, Mechanism(5.0), Mechanism(7.0)]
    assert found.spent("month", NOVEMBER) == [Mechanism(5.0), Mechanism(7.0)]
    assert found.spent("month", DECEMBER) == [Mechanism(5.0)]
    assert found.spent("year", DECEMBER) == found.spent("ever", DECEMBER) == found.spent("month", OCTOBER)
    assert found.spent("year", "2027-01-01T00:00:00+00:00") == [Mechanism(5.0)]


def test_a_clock_that_is_behind_or_ahead_hides_nothing():
    behind = account(reserved("job-a", NOVEMBER), reserved("job-b", OCTOBER), settled("job-b", OCTOBER, FOUR))
    assert behind.spent("month", NOVEMBER) == [FOUR, FOUR]
    ahead = account(reserved("job-a", DECEMBER), settled("job-a", DECEMBER, FOUR))
    assert ahead.spent("month", NOVEMBER) == [FOUR]


def test_a_reset_counts_from_zero_and_keeps_who_decided_and_why():
    found = account(reserved(), reset_body("Ada", "other people", DECEMBER), reserved("job-b", DECEMBER))
    assert found.spent("ever", DECEMBER) == [FOUR]
    assert [(each.by, each.reason, each.at) for each in found.resets] == [("Ada", "other people", DECEMBER)]
    assert list(found.jobs) == ["job-b"]


def test_a_job_that_was_running_during_a_reset_counts_once_it_is_settled():
    found = account(reserved(), reset_body("Ada", "other people", NOVEMBER), settled("job-a", NOVEMBER, ONE))
    assert found.spent("ever", NOVEMBER) == [ONE]


@pytest.mark.parametrize(("by", "reason"), [("", "x"), ("Ada", " ")])
def test_a_reset_needs_a_person_and_a_reason(by, reason):
    with pytest.raises(InvalidInput, match="a person and a reason"):
        reset_body(by, reason, NOVEMBER)


def test_a_reset_forgives_nothing_of_what_was_charged_before_it():
    before = [
        reserved("job-a", OCTOBER),
        settled("job-a", OCTOBER, ONE),
        reserved("job-b", NOVEMBER),
        settled("job-b", NOVEMBER, FOUR),
    ]
    first, second = (reset_body("Ada", "other people", each) for each in (NOVEMBER, DECEMBER))
    found = account(*before, first, reserved("job-c", NOVEMBER), second)
    # A list for each reset, and one for now. The jobs of October and November are of two months of one year.
    assert found.spent_around("job-a", "month") == [[ONE], [], []]
    assert found.spent_around("job-a", "year") == [[ONE, FOUR], [], []]
    assert found.spent_around("job-c", "year") == [[], [FOUR], []]
    # One that was open at the reset counted in each month then, and is settled afterwards.
    running = account(reserved("job-b", OCTOBER), *before[:2], first, settled("job-b", NOVEMBER, ONE))
    assert running.spent_around("job-a", "month") == [[FOUR, ONE], []]
    assert running.spent_around("job-b", "month") == [[FOUR, ONE], [ONE]]
    assert running.spent_around("job-d", "month") == [[], []]


def test_a_settlement_changes_something_once():
    found = account(reserved())
    assert found.settles("job-a", [ONE], MODEL)
    assert found.settles("job-a", [FOUR], MODEL)
    done = account(reserved(), settled("job-a", NOVEMBER, ONE))
    assert not done.settles("job-a", [ONE], MODEL)
    assert done.settles("job-a", [], MODEL)


def test_a_job_is_settled_with_one_model():
    done = account(reserved(), settled("job-a", NOVEMBER, FOUR))
    assert done.jobs["job-a"].model_sha256 == MODEL
    assert not done.settles("job-a", [FOUR], MODEL)
    with pytest.raises(InvalidInput, match="with the model 555555555555, not 777777777777") as refused:
        done.settles("job-a", [FOUR], "7" * 64)
    assert "delete it" in refused.value.next_step
    # After a reset a job that goes on reserves again, and releases another model.
    again = account(reserved(), settled(), reset_body("Ada", "other people", NOVEMBER), reserved())
    assert again.jobs["job-a"].model_sha256 is None
    assert again.settles("job-a", [FOUR], "7" * 64)


def test_settlements_of_earlier_versions_name_no_model():
    body = settled("job-a", NOVEMBER, FOUR)
    del body["model_sha256"]
    earlier = account(reserved(), body)
    assert (earlier.jobs["job-a"].settled, earlier.jobs["job-a"].model_sha256) == (True, None)
    assert earlier.settles("job-a", [FOUR], MODEL)


def test_a_settlement_only_lowers_what_was_reserved():
    found = account(reserved())
    with pytest.raises(InvalidInput, match=r"reserved less .* than it released"):
        found.settles("job-a", [Mechanism(3.9)], MODEL)
    with pytest.raises(InvalidInput, match="job-b reserved nothing"):
        found.settles("job-b", [], MODEL)


def test_a_settlement_of_sampled_mechanisms_only_lowers_their_counts():
    found = account(reserved("job-a", NOVEMBER, Mechanism(1.0, 0.1, 5)))
    assert found.settles("job-a", [Mechanism(1.0, 0.1, 3), Mechanism(1.0, 0.1, 2)], MODEL)
    for more in (Mechanism(1.0, 0.1, 6), Mechanism(1.0, 0.2, 1), Mechanism(9.0)):
        with pytest.raises(InvalidInput, match="reserved less"):
            found.settles("job-a", [more], MODEL)


@settings(max_examples=40)
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, 8.0, 16.0])), max_size=8))
def test_the_account_counts_at_least_what_each_job_was_last_known_to_release(events):
    """Reserve where the second part is None, and else settle with this multiplier."""
    bodies, known = [], {}
    for job_id, released in events:
        if released is None:
            bodies.append(reserved(job_id))
            known[job_id] = FOUR
        elif job_id in known:
            bodies.append(settled(job_id, NOVEMBER, Mechanism(released)))
            known[job_id] = Mechanism(released)
    found = account(*bodies)
    assert sorted(found.spent("ever", NOVEMBER), key=lambda each: each.multiplier) == sorted(
        known.values(), key=lambda each: each.multiplier
    )


@pytest.mark.parametrize(
    "change",
    [
        {"type": "spend"},
        {"type": None},
        {"at": "yesterday"},
        {"at": 3},
        {"at": "2026-11-15T12:00:00+01:00"},
        {"job_id": ""},
        {"job_id": 7},
        {"mechanisms": None},
        {"mechanisms": [{"multiplier": 1.0}]},
        {"epsilon": "1"},
        {"epsilon": math.inf},
        {"epsilon": -1.0},
        {"budget": 0.0},
        {"delta": 1.0},
        {"unit": "interaction"},
        {"period": "week"},
        {"more": 1},
    ],
    ids=str,
)
def test_an_entry_that_is_none_of_an_account_is_named(change):
    entries = [follow(None, reserved("job-z"))]
    # A float that is infinite has no JSON, so the entry is put together without its hash.
    entries.append(Entry(2, entries[0].hash, {**reserved(), **change}, ""))
    with pytest.raises(
        LedgerTampered, match=r"'users' was changed: entry 2 .* no entry of an account"
    ) as caught:
        account_of("users", "privacy account 'users'", entries)
    assert caught.value.position == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        settled("job-b"),
        settled("job-a", NOVEMBER, Mechanism(1.0)),
        {**settled(), "by": "Ada"},
        {"type": "reset", "at": NOVEMBER, "by": "Ada"},
        {"type": "reset", "at": NOVEMBER, "by": "Ada", "reason": ""},
    ],
    ids=str,
)
def test_an_entry_that_does_not_follow_is_named(body):
    with pytest.raises(LedgerTampered, match="entry 2"):
        account(reserved(), body)


@pytest.mark.parametrize(
    "change",
    [{"epsilon": 0.0}, {"budget": math.nan}, {"delta": 0.0}, {"unit": "row"}, {"period": "day"}],
    ids=str,
)
def test_a_reservation_out_of_range_is_refused(change):
    with pytest.raises(InvalidInput, match="A job reserves"):
        replace(ASKED, **change)


def test_a_job_of_a_larger_delta_does_not_make_the_others_small():
    """Both together cost more than the budget with the delta of the first, whatever that of the second."""
    two = epsilon_of([FOUR, FOUR], DELTA)
    loose = replace(ASKED, job_id="job-b", delta=0.5, budget=two * 0.99)
    with pytest.raises(BudgetExceeded, match="for a delta of 1e-05") as refused:
        account(reserved()).needs(loose, NOVEMBER)
    assert refused.value.facts["spent"] == pytest.approx(epsilon_of([FOUR], DELTA))
    assert account(reserved()).needs(replace(loose, budget=two * 1.01), NOVEMBER)
