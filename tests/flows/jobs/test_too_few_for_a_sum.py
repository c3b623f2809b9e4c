"""A job of secure sums that too few clients can take part in stops, and goes on when they are back."""

from __future__ import annotations

from pathlib import Path

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
