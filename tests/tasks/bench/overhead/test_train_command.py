"""The measured command, by checkouts whose `fedrec` does something simple."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest

from models.errors import FedrecError
from tasks.bench.overhead.cases import QUICK, Tables
from tasks.bench.overhead.train_command import Checkout, JobRun, run_train

FEW = QUICK[0]
# What every one of these checkouts does: it partitions nothing, and its training is the given code.
PROGRAM = """
import json, os, pathlib, subprocess, sys, time
if "train" in sys.argv:
    home = pathlib.Path(os.environ["FEDREC_HOME"])
{training}
"""
FINISHES = """
    rounds = home / "jobs" / "overhead-1" / "rounds"
    rounds.mkdir(parents=True)
    for number in range(2):
        record = {"committed_at": "2020-01-01T00:00:00.000+00:00", "model_sha256": "digest"}
        (rounds / f"{number:06d}.json").write_text(json.dumps(record))
    (rounds.parent / "result.json").write_text(json.dumps({"timings": {"total_s": 1.0}}))
"""


@pytest.fixture
def measured(tmp_path: Path):
    """Return a function that measures a checkout with this training."""

    def run(training: str, timeout_s: float = 60.0) -> JobRun:
        root = tmp_path / "checkout"
        (root / "flows").mkdir(parents=True)
        (root / "flows" / "__main__.py").write_text(PROGRAM.format(training=training))
        tables = Tables(tmp_path / "interactions.csv", tmp_path / "items.csv")
        (tmp_path / "run").mkdir()
        return run_train(Checkout(root, "abc123"), FEW, tables, tmp_path / "run", timeout_s)

    return run


def test_the_memory_is_that_of_all_processes_together(measured):
    child = "held = bytearray(150_000_000); import time; time.sleep(1.5)"
    held = f"""
    child = subprocess.Popen([sys.executable, "-c", {child!r}])
    held = bytearray(100_000_000)
    child.wait()
"""
    found = measured(held + FINISHES)
    assert found.model_sha256 == "digest"
    assert 1.5 < found.job_s < 30
    # Two interpreters and both arrays.
    assert 250 < found.peak_rss_mb < 350


def test_the_processor_time_is_that_of_the_child_processes_too(measured):
    spin = "import time\nwhile time.process_time() < 0.7: pass"
    busy = f"""
    subprocess.run([sys.executable, "-c", {spin!r}])
    began = time.process_time()
    while time.process_time() - began < 0.5: pass
"""
    found = measured(busy + FINISHES)
    # The rest is the start of two interpreters.
    assert 1.2 < found.cpu_s < 2.5


def test_a_failed_training_is_reported_with_its_last_lines(measured):
    with pytest.raises(FedrecError, match=r"of abc123 failed with exit code 3: no quorum"):
        measured("""
    print("no quorum", file=sys.stderr)
    sys.exit(3)
""")


def test_a_training_that_takes_too_long_is_ended_with_its_child_processes(measured, tmp_path):
    endless = f"""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
    pathlib.Path({str(tmp_path)!r}, "pid").write_text(str(child.pid))
    time.sleep(100)
"""
    before = time.monotonic()
    with pytest.raises(FedrecError, match="was ended after"):
        measured(endless, timeout_s=3.0)
    assert time.monotonic() - before < 60
    pid = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_nobodys_servers_and_homes_reach_the_command(measured, monkeypatch, tmp_path):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:1/api")
    measured(
        f"""
    names = [name for name in os.environ if name.startswith(("MLFLOW_", "PREFECT_"))]
    pathlib.Path({str(tmp_path)!r}, "names").write_text(repr((names, os.environ["FEDREC_HOME"])))
"""
        + FINISHES
    )
    assert (tmp_path / "names").read_text() == repr(([], str(tmp_path / "run" / "home")))
