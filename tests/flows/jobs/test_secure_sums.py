"""Jobs of secure sums: what their results tell, and what happens if too few clients can take part."""

from __future__ import annotations

from pathlib import Path

import pytest

from flows.jobs.secure_sums import next_step_after
from models.federation.rounds import Rejection
from tasks.datasets.partition_reader import open_partition
from tasks.local.home import Home
from tests.worlds.small_jobs import small_job


def test_a_job_without_enough_members_stops_at_its_quorum_and_continues(
    prefect_server: None, mlflow_home: Home, partition_dir: Path
) -> None:
    from flows.train import run_locally

    file = open_partition(partition_dir).client("cedar").path
    data = file.read_bytes()
    file.write_bytes(b"")
    config = small_job(partition_dir, privacy={"secure_sum": True})
    stopped, exit_code = run_locally(config)
    assert (stopped.status, exit_code) == ("stopped", 3)
    assert stopped.stop_reason is not None
    assert "A secure sum needs 3 members" in stopped.stop_reason
    assert "there are 2 (ash, birch). Missing: cedar (" in stopped.stop_reason

    file.write_bytes(data)
    result, exit_code = run_locally(config)
    assert (result.job_id, result.status, exit_code) == (stopped.job_id, "finished", 0)
    assert result.rounds[0].accepted == ("ash", "birch", "cedar")


def test_nobody_is_told_to_repeat_what_a_policy_refuses() -> None:
    away = Rejection("elm", "deadline", "no answer within 5 s")
    refused = Rejection("ash", "training", "SiloFailed: Silo 'ash' did not finish 'train': EgressRefused.")
    assert next_step_after([away], "Repeat it.") == "Repeat it."
    found = next_step_after([away, refused, refused], "Repeat it.")
    assert found.startswith("A policy that refuses does so again. Ask whoever owns ash what")


def test_the_sum_tells_what_joining_changes_for_all(
    prefect_server: None, mlflow_home: Home, partition_dir: Path
) -> None:
    from flows.train import run_locally

    plain, secure = (
        run_locally(
            small_job(partition_dir, privacy={"secure_sum": is_secure}, evaluation={"silo_only": True})
        )[0]
        for is_secure in (False, True)
    )
    assert plain.benefit is not None
    assert secure.benefit is not None
    assert secure.clients == ()
    assert secure.benefit.cases == plain.benefit.cases == sum(each.cases for each in plain.clients)
    total = sum(each.cases * (each.benefit or 0.0) for each in plain.clients)
    assert plain.benefit.mean == pytest.approx(total / plain.benefit.cases)
    # Figures in sums are whole numbers of steps.
    assert secure.benefit.mean == pytest.approx(plain.benefit.mean, abs=1e-4)
    assert secure.benefit.standard_error == pytest.approx(plain.benefit.standard_error, abs=1e-4)
