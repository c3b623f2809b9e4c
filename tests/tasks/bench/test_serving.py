"""The benchmark runs, small and short. Its measurements are not asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest

from models.errors import FedrecError, NotFound
from tasks.bench.serving.wrk import put_under_load
from tests.servers.free_port import free_port

needs_wrk = pytest.mark.skipif(shutil.which("wrk") is None, reason="the load generator wrk is not installed")


@needs_wrk
@pytest.mark.timeout(240)
def test_the_benchmark_measures_every_server(home):
    command = ["-m", "flows", "bench", "serving", "--json", "--seconds", "1", "--items", "300"]
    found = subprocess.run(
        [sys.executable, *command, "--large-items", "2000", "--weights", "200"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    result = json.loads(found.stdout)
    for name in ("small", "large_pass", "large", "weights", "mlflow"):
        one = result[name]["one_connection"]
        assert (one["failed"], one["connections"]) == (0, 1)
        assert 0 < one["p50_ms"] <= one["p99_ms"] <= one["max_ms"]
        assert result[name]["sixteen_connections"]["requests"] > 0
        assert result[name]["ready_s"] > 0
    # Two thousand items need no index, so both servers of the large model give the same answers.
    assert (result["large"]["index"], result["large"]["recall_at_10"]) == (None, 1.0)
    speedup = result["mlflow"]["one_connection"]["p50_ms"] / result["small"]["one_connection"]["p50_ms"]
    assert result["speedup_over_mlflow_serve_p50"] == pytest.approx(speedup, abs=0.01)
    assert not list(home.glob("bench-*"))


@needs_wrk
def test_a_load_without_a_server_fails():
    with pytest.raises(FedrecError, match="wrk failed"):
        put_under_load(f"http://127.0.0.1:{free_port()}/", [b"{}"], 1, 1.0)


def test_without_wrk_the_next_step_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(NotFound, match="apt-get install wrk"):
        put_under_load("http://127.0.0.1:1/", [b"{}"], 1, 1.0)
