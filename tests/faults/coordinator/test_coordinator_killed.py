"""The coordinator is killed (SIGKILL) at each step between two commits. The same command continues."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import Any

import pytest

from tasks.jobs.journal import Journal
from tests.faults.driven import driver, end_of

MERGE, COMMIT = "flows.jobs.rounds:merge_round", "tasks.jobs.journal:Journal.commit"
NOTE, REGISTER = "tasks.jobs.journal:Journal.note_tracked", "tasks.tracking.run_tracker:register_round"
LOG_ROUND = "tasks.tracking.run_tracker:Tracker.log_round"
LOG_RESULT = "tasks.tracking.run_tracker:Tracker.log_result"
CONCLUDE = "tasks.jobs.journal:Journal.conclude"
PUT, PUT_RESULT = "flows.jobs.rounds:RoundMessage", "flows.jobs.conclusion:ResultMessage"
SENT_BESIDE = (LOG_ROUND, REGISTER, NOTE, LOG_RESULT)
ANY = object()

# One job of six rounds: (what is under way, where the process dies, number of the call, newest committed
# round, newest tracked round). A process first sends what its predecessor left. Rounds are sent beside the
# training, so the committed round is not known while one is sent. In the other rows MLflow has all of them.
CRASHES = [
    ("opening: nothing committed", "before", COMMIT, 1, None, None),
    ("opening: round 0 committed", "after", COMMIT, 1, 0, None),
    ("trained, not merged", "before", MERGE, 1, 0, 0),
    ("model in the exchange, not checked", "after", MERGE, 1, 0, 0),
    ("checked, no manifest", "before", COMMIT, 1, 0, 0),
    ("manifest, no message", "after", COMMIT, 1, 1, 0),
    ("evaluated, no message", "before", PUT, 1, 1, 0),
    ("message, not in MLflow", "before", LOG_ROUND, 2, ANY, 1),
    ("metrics and artefacts, no version", "before", REGISTER, 2, ANY, 2),
    ("version, not noted", "before", NOTE, 2, ANY, 3),
    ("killed again while catching up", "before", NOTE, 1, ANY, 3),
    ("noted, message still there", "after", NOTE, 2, ANY, 5),
    ("concluding: rounds done, not compared", "before", "flows.jobs.conclusion:_compare", 1, 6, 6),
    ("concluding: report written, no message", "before", PUT_RESULT, 1, 6, 6),
    ("concluding: message, not in MLflow", "before", LOG_RESULT, 1, 6, 6),
    ("concluding: logged, no result", "before", CONCLUDE, 1, 6, 6),
]


def newest(jobs: Path) -> tuple[int | None, int | None]:
    """Return the newest committed and the newest tracked round of the only job."""
    (folder,) = {path.parent for path in jobs.glob("*/job.json")}
    journal = Journal(folder)
    committed = [record.round for record in journal.committed()]
    tracked = [round_ for round_ in committed if journal.tracked(round_) is not None]
    return max(committed, default=None), max(tracked, default=None)


# Seventeen starts of a job, each of which takes twenty seconds on a busy machine.
@pytest.mark.timeout(1200)
def test_a_job_killed_at_every_step_ends_as_an_undisturbed_one(federation: Any) -> None:
    config = federation.config(federation={"rounds": 6})
    with driver(config) as process:
        for what, when, target, call, committed, tracked in CRASHES:
            point = {"target": target, "when": when, "call": call, "settled": target not in SENT_BESIDE}
            assert end_of(process, point) == -signal.SIGKILL, what
            found = newest(federation.home.jobs)
            assert found == (found[0] if committed is ANY else committed, tracked), what
    result = federation.run(config)
    federation.check(config, result, lost={}, states={"CRASHED": len(CRASHES), "COMPLETED": 1})


def test_a_job_killed_while_its_rounds_wait_for_mlflow_tells_all_of_them_once(federation: Any) -> None:
    """MLflow is slow, so three rounds wait when the process dies. The next one dies while it sends them."""
    config = federation.config(federation={"rounds": 5})
    with driver(config) as process:
        for target, tracked, waiting in ((LOG_ROUND, 0, 3), (NOTE, 1, 2)):
            point = {"target": target, "when": "before", "call": tracked + 1, "waiting": waiting}
            assert end_of(process, point) == -signal.SIGKILL
            assert newest(federation.home.jobs)[1] == tracked
    result = federation.run(config)
    federation.check(config, result, lost={}, states={"CRASHED": 2, "COMPLETED": 1})


def test_a_job_killed_at_random_moments_ends_as_an_undisturbed_one(federation: Any) -> None:
    config = federation.config(federation={"rounds": 4})
    moments = random.Random(11)  # noqa: S311
    with driver(config) as process:
        for _ in range(2):
            # Counted from the call that notes the flow run. Before it, only Prefect knows of the run.
            start = {"target": "flows.train:note_own_run", "when": "after", "call": 1}
            code = end_of(process, start | {"after_s": moments.uniform(0.1, 1.5)})
            assert code == -signal.SIGKILL
    result = federation.run(config)
    federation.check(config, result, lost={}, states={"CRASHED": 2, "COMPLETED": 1})
