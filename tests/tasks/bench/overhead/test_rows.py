"""A row of the overhead table: computed by hand from records, and measured on a small federation."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from models.errors import FedrecError
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.overhead.bare_loop import BareRun, bare_loop
from tasks.bench.overhead.rows import row_of
from tasks.bench.overhead.train_command import JobRun, job_run
from tasks.datasets.partition_reader import open_partition

# 2020-01-01T00:00:00 UTC
MIDNIGHT = 1_577_836_800.0


def put_job(home: Path, commits: list[str]) -> None:
    folder = home / "jobs" / "overhead-1"
    (folder / "rounds").mkdir(parents=True)
    for round_, committed_at in enumerate(commits):
        record = {"committed_at": committed_at, "model_sha256": f"digest {round_}"}
        (folder / "rounds" / f"{round_:06d}.json").write_text(json.dumps(record))
    timings = {"train_s": 2.5, "merge_s": 1.0, "total_s": 17.0, "overhead_ratio": None}
    (folder / "result.json").write_text(json.dumps({"timings": timings}))


def test_a_job_is_measured_by_the_records_of_its_rounds(tmp_path):
    put_job(tmp_path, ["2020-01-01T00:00:08.000+00:00", "2020-01-01T00:00:11.250+00:00"])
    found = job_run(tmp_path, MIDNIGHT, MIDNIGHT + 20, 25.0, 500.0)
    assert found == JobRun(
        20.0, 25.0, (8.0, 11.25), 500.0, "digest 1", {"train_s": 2.5, "merge_s": 1.0, "total_s": 17.0}
    )


def test_a_home_without_a_finished_job_cannot_be_measured(tmp_path):
    with pytest.raises(FedrecError, match="0 finished jobs"):
        job_run(tmp_path, MIDNIGHT, MIDNIGHT + 20, 25.0, 500.0)


def test_a_row_is_what_a_hand_computes():
    bare = BareRun((1.0, 0.5, 0.25), 1.7, "digest")
    job = JobRun(30.0, 44.0, (10.0, 16.0, 18.0, 21.0), 812.34, "digest", {"train_s": 3.0, "report_s": 2.0})
    row = row_of(bare, job)
    assert row == {
        "bare_s": 1.75,
        "job_s": 30.0,
        "startup_s": 10.0,
        "after_startup_s": 20.0,
        "ratio": 11.43,  # 20 / 1.75
        "round_s": 2.5,  # between 2 and 3
        "bare_round_s": 0.5,
        "round_overhead_s": 2.0,
        "bare_cpu_s": 1.7,
        "job_cpu_s": 44.0,
        "peak_rss_mb": 812.3,
        "model_sha256": "digest",
        "parts_s": {
            "startup": 10.0,
            "train": 3.0,
            "merge": 0.0,
            "contracts": 0.0,
            "evaluate": 0.0,
            "tracking": 0.0,
            "report": 2.0,
            "rest": 15.0,
        },
    }


def test_the_bare_loop_times_every_round(partition_dir):
    found = bare_loop(open_partition(partition_dir), LightFMSpec(dims=4), rounds=3, seed=1)
    assert len(found.rounds_s) == 3
    assert min(found.rounds_s) > 0
    assert found.cpu_s > 0


@pytest.mark.timeout(240)
def test_a_job_and_the_bare_loop_make_the_same_model(home):
    command = [sys.executable, "-m", "flows", "bench", "overhead", "--quick", "--case", "quick-4", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    # It fails if the models differ.
    assert done.returncode == 0, done.stderr
    (row,) = json.loads(done.stdout)["rows"]
    assert (row["clients"], row["rounds"], row["items"]) == (4, 5, 500)
    assert row["job_s"] == pytest.approx(row["startup_s"] + row["after_startup_s"], abs=0.002)
    assert row["ratio"] == pytest.approx(row["after_startup_s"] / row["bare_s"], rel=0.05)
    assert 0 < row["startup_s"] < row["job_s"]
    assert row["bare_s"] < row["after_startup_s"]
    assert 0 < row["bare_cpu_s"] < row["job_cpu_s"]
    # Python with the libraries takes more, and this federation less.
    assert 100 < row["peak_rss_mb"] < 5000
    assert sum(row["parts_s"].values()) == pytest.approx(row["job_s"], abs=0.01)
    assert "quick-4: bare loop" in done.stderr
    assert not list(home.iterdir())
