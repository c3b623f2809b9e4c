"""The benchmark runs, small and short. Its measurements are not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def bench(*options: str) -> dict[str, Any]:
    command = ["-m", "flows", "bench", "gateway", "--silos", "3", "--seconds", "1", "--uploaders", "2"]
    found = subprocess.run(
        [sys.executable, *command, *options, "--json"], capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stderr
    result: dict[str, Any] = json.loads(found.stdout)
    return result


def test_the_benchmark_delivers_every_order_and_counts_uploads() -> None:
    result = bench("--rounds", "0")
    for name in ("one_by_one", "at_once"):
        assert result[name]["delivered"] == result[name]["orders"] == 3
        assert result[name]["p50_ms"] <= result[name]["p99_ms"]
    uploads = result["uploads"]
    assert uploads["count"] > 0
    floor = uploads["floor_cpu_ms"]
    parts = floor["tls"] + floor["signatures"] + floor["sha256"] + floor["file"]
    assert floor["all"] == pytest.approx(parts, abs=0.002)
    assert result["memory_mb"] > 0
    assert "rounds" not in result


@pytest.mark.minutes
@pytest.mark.timeout(900)
def test_both_ways_train_the_same_model() -> None:
    rounds = bench("--rounds", "2")["rounds"]
    assert (rounds["silos"], rounds["count"]) == (3, 2)
    ratio = rounds["gateway"]["mean_s"] / rounds["prefect_workers"]["mean_s"]
    assert rounds["ratio"] == pytest.approx(ratio, abs=0.01)
