"""The coordinator is killed (SIGKILL) between reservation and settlement. What it may have spent is kept."""

from __future__ import annotations

import signal

from models.privacy.mechanisms import Mechanism, epsilon_of, multiplier_for
from models.recommenders.private.spec import DpItemsSpec
from tasks.local.home import Home
from tasks.privacy.account_file import now, read_account
from tasks.promotion.account_heads import lost
from tests.faults.conftest import Federation
from tests.faults.driven import driver, end_of

EPSILON, DELTA = 1.0, 1e-5
RESERVE, SETTLE = "flows.jobs.privacy:reserve", "flows.jobs.privacy:settle"
COMMIT, MERGE = "tasks.jobs.journal:Journal.commit", "flows.jobs.rounds:merge_round"
CONCLUDE = "tasks.jobs.journal:Journal.conclude"

# One job of two rounds: (where a process dies, when, number of the call, jobs that are charged, whether there
# is a job).
CRASHES = [
    ("nothing reserved", "before", RESERVE, 1, 0, False),
    # Nobody knows later that this job never began, so it stays charged, and the next one is another one.
    ("reserved, no job yet", "after", RESERVE, 1, 1, False),
    ("job opened, nothing committed", "before", COMMIT, 1, 2, True),
    ("trained, not merged", "before", MERGE, 1, 2, True),
    ("round 1 committed", "after", COMMIT, 1, 2, True),
    ("round 2 trained, not merged", "before", MERGE, 1, 2, True),
    ("concluding, not settled", "before", SETTLE, 1, 2, True),
    ("settled, no result", "before", CONCLUDE, 1, 2, True),
]


def charged(home: Home) -> tuple[int, float]:
    """Return how many jobs are charged, and the epsilon of all together."""
    account, _ = read_account(home, "users")
    return len(account.jobs), epsilon_of(account.spent("ever", now()), DELTA)


def test_a_job_killed_at_every_step_never_loses_what_it_may_have_spent(federation: Federation) -> None:
    config = federation.config(
        train=DpItemsSpec(),
        federation={"rounds": 2},
        evaluation={"every": 2},
        privacy={"unit": "user", "epsilon": EPSILON, "budget": 2.0},
    )
    multiplier = multiplier_for(EPSILON, DELTA)
    with driver(config) as process:
        for what, when, target, call, jobs, exists in CRASHES:
            point = {"target": target, "when": when, "call": call, "settled": True}
            assert end_of(process, point) == -signal.SIGKILL, what
            expected = epsilon_of([Mechanism(multiplier, count=jobs)] if jobs else [], DELTA)
            assert charged(federation.home) == (jobs, expected), what
            assert bool(list(federation.home.jobs.glob("*/job.json"))) == exists, what
    result = federation.run(config)
    assert (result["status"], result["exit_code"]) == ("finished", 0)
    account, head = read_account(federation.home, "users")
    unsettled, settled = account.jobs.values()
    assert (unsettled.settled, settled.settled) == (False, True)
    assert settled.reservation.job_id == result["job_id"]
    assert unsettled.reservation.job_id != result["job_id"]
    # The settlement was written once, before the last crash.
    assert head.count == 3
    assert len(list(federation.home.jobs.glob("*/job.json"))) == 1
    # The job keeps the head of the account after its own reservation, which the account continues.
    kept = federation.journal(result).opening.account_head
    assert kept is not None
    assert (kept.count, lost(federation.home, "users")) == (2, None)
    assert federation.journal(result).opening.privacy == federation.journal(result).committed()[-1].privacy
