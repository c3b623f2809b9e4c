"""Privacy accounts on disk: what was spent survives every crash, and no two jobs spend the same rest."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from models.errors import BudgetExceeded, InvalidConfig, InvalidInput, LedgerTampered, NotFound
from models.ledger.head import EMPTY
from models.privacy.account import Reservation
from models.privacy.mechanisms import Mechanism, epsilon_of
from tasks.local.home import Home
from tasks.privacy.account_file import accounts, now, read_account, reserve, reset, settle

DELTA = 1e-5
FOUR, ONE = Mechanism(4.0), Mechanism(8.0)
MODEL = "5" * 64
ASKED = Reservation("job-a", "shops.yaml", "shops", (FOUR,), epsilon=1.0, delta=DELTA, budget=3.0)


@pytest.fixture
def place(home: Path) -> Home:
    return Home(home)


def spent(place: Home, name: str = "users") -> list[Mechanism]:
    return read_account(place, name)[0].spent("ever", now())


def test_what_was_written_is_read_back(place):
    assert (accounts(place), read_account(place, "users")[1]) == ([], EMPTY)
    reserve(place, "users", ASKED)
    assert spent(place) == [FOUR]
    head = settle(place, "users", "job-a", [ONE], MODEL)
    account, found = read_account(place, "users")
    assert (found, head.count, accounts(place)) == (head, 2, ["users"])
    assert account.jobs["job-a"].reservation == ASKED
    assert spent(place) == [ONE]


def test_accounts_are_independent(place):
    reserve(place, "users", ASKED)
    reserve(place, "guests.2026", ASKED)
    settle(place, "guests.2026", "job-a", [], MODEL)
    assert accounts(place) == ["guests.2026", "users"]
    assert (spent(place), spent(place, "guests.2026")) == ([FOUR], [])


def test_reserving_and_settling_again_write_nothing(place):
    head = reserve(place, "users", ASKED)
    assert reserve(place, "users", ASKED) == head
    head = settle(place, "users", "job-a", [ONE], MODEL)
    assert settle(place, "users", "job-a", [ONE], MODEL) == head


def test_a_refused_job_writes_nothing(place):
    reserve(place, "users", ASKED)
    before = (place.privacy / "users.jsonl").read_bytes()
    with pytest.raises(BudgetExceeded):
        reserve(place, "users", replace(ASKED, job_id="job-b", budget=1.01))
    with pytest.raises(InvalidInput, match="job-b reserved nothing"):
        settle(place, "users", "job-b", [], MODEL)
    assert (place.privacy / "users.jsonl").read_bytes() == before


def test_a_reset_names_who_and_why_and_keeps_the_entries(place):
    with pytest.raises(NotFound, match="no privacy account 'users'"):
        reset(place, "users", by="Ada", reason="other people")
    reserve(place, "users", ASKED)
    head = reset(place, "users", by="Ada", reason="other people")
    account, _ = read_account(place, "users")
    assert (spent(place), head.count) == ([], 2)
    assert [(each.by, each.reason) for each in account.resets] == [("Ada", "other people")]
    with pytest.raises(InvalidInput, match="a person and a reason"):
        reset(place, "users", by="Ada", reason="")
    with pytest.raises(NotFound, match="There are: users"):
        reset(place, "others", by="Ada", reason="other people")


@pytest.mark.parametrize("name", ["", "../users", "a/b", ".hidden", "user s"])
def test_a_name_that_is_no_file_is_refused(place, name):
    with pytest.raises(InvalidConfig, match="cannot have the name"):
        reserve(place, name, ASKED)


def test_an_edited_account_is_refused(place):
    reserve(place, "users", ASKED)
    reserve(place, "users", replace(ASKED, job_id="job-b"))
    path = place.privacy / "users.jsonl"
    whole = path.read_bytes()
    for edited in (whole.replace(b'"multiplier":4.0', b'"multiplier":9.0', 1), whole.split(b"\n", 1)[1]):
        path.write_bytes(edited)
        with pytest.raises(LedgerTampered, match="privacy account 'users' was changed: entry 1"):
            reserve(place, "users", replace(ASKED, job_id="job-c"))
        assert path.read_bytes() == edited


def test_jobs_at_the_same_time_never_spend_more_than_the_budget(place):
    budget = epsilon_of([FOUR] * 3, DELTA) + 1e-6
    asked = [replace(ASKED, job_id=f"job-{number}", budget=budget) for number in range(8)]

    def try_it(each: Reservation) -> bool:
        try:
            reserve(place, "users", each)
        except BudgetExceeded:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_it, asked)) == 3
    assert spent(place) == [FOUR] * 3


# Each job says so on stdout once it may release something.
_JOBS = """
import sys
from dataclasses import replace
from tasks.local.home import current_home
from tasks.privacy.account_file import reserve
from tests.tasks.privacy.test_account_file import ASKED
for number in range(10_000):
    reserve(current_home(), "users", replace(ASKED, job_id=f"job-{number}", budget=1e6))
    print(number, flush=True)
"""
_CHECKOUT = Path(__file__).parents[3]


@pytest.mark.parametrize("released", [1, 2, 3, 5, 8, 13, 21])
def test_a_process_that_is_killed_leaves_an_account_with_all_that_it_may_have_released(place, released):
    with subprocess.Popen(
        [sys.executable, "-c", _JOBS], stdout=subprocess.PIPE, text=True, cwd=_CHECKOUT
    ) as process:
        assert process.stdout is not None
        seen = [process.stdout.readline() for _ in range(released)]
        process.kill()
        seen += process.stdout.readlines()
    known = read_account(place, "users")[0].jobs
    assert {f"job-{int(number)}" for number in seen} <= known.keys()
    # Continued, each reserves once.
    for number in range(len(seen) + 1):
        reserve(place, "users", replace(ASKED, job_id=f"job-{number}", budget=1e6))
    again, head = read_account(place, "users")
    assert head.count == len(again.jobs) == max(len(known), len(seen) + 1)


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_an_entry_that_a_power_cut_tore_does_not_count_and_is_written_again(place, kept):
    reserve(place, "users", ASKED)
    path = place.privacy / "users.jsonl"
    first = path.read_bytes()
    reserve(place, "users", replace(ASKED, job_id="job-b"))
    torn = path.read_bytes()[len(first) :][:kept]
    path.write_bytes(first + torn)
    # Its job had not begun, because the call had not returned.
    assert spent(place) == [FOUR]
    reserve(place, "users", replace(ASKED, job_id="job-b"))
    assert spent(place) == [FOUR, FOUR]
    assert (place.privacy / "users.torn.log").read_bytes() == torn + b"\n"
