"""The ranges of a configuration, in whole jobs: what clients send lies within them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flows.terminal.progress import listening
from tasks.local.home import Home
from tests.worlds.small_jobs import small_job


def test_ranges_decide_what_clients_send_and_clipped_values_are_told(
    prefect_server: None, mlflow_home: Home, partition_dir: Path
) -> None:
    from mlflow.tracking import MlflowClient

    from flows.train import run_locally

    lines: list[str] = []
    with listening(lambda event: lines.append(event.text)):
        usual, _ = run_locally(small_job(partition_dir))
        assert not any("clipped" in line for line in lines)
        narrow = {"embeddings": {"lowest": -1, "highest": 1, "step": 2.0**-12}}
        clipped, exit_code = run_locally(small_job(partition_dir, fixed_point=narrow))
    assert exit_code == 0
    # No client was refused, so all used these ranges.
    assert [each.accepted for each in clipped.rounds] == [each.accepted for each in usual.rounds]
    assert clipped.rounds[0].model_sha256 != usual.rounds[0].model_sha256
    # Three clients of 40 items with 4 embedding values, a bias and two accumulators.
    (count,) = re.findall(r"(\d+) of 840 values clipped", "\n".join(lines))
    assert 0 < int(count) <= 480
    tracked = MlflowClient().get_run(clipped.run_id).data.metrics
    assert tracked["round/training_clipped"] == pytest.approx(int(count) / 840)
