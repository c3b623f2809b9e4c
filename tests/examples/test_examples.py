"""The examples run as a reader runs them, on real data."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition

EXAMPLES = Path(__file__).parents[2] / "examples"
RAW = os.environ.get("FEDREC_TEST_MOVIELENS")


@pytest.fixture(scope="module")
def movielens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return MovieLens-100K by occupation, of its files that `make test` fetches."""
    if RAW is None:
        pytest.skip("FEDREC_TEST_MOVIELENS names no folder of MovieLens-100K; `make test` sets it")
    raw, out = Path(RAW), tmp_path_factory.mktemp("movielens") / "partition"
    tables = {name: raw / f"{name}.csv" for name in ("interactions", "items", "users")}
    make_partition(
        tables["interactions"], out, ByColumn("occupation"), items=tables["items"], users=tables["users"]
    )
    return out


def output_of(example: str, *arguments: str) -> str:
    """Return what an example prints; `home` is its home, as in every test."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / example), *arguments],
        env=environment | {"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.timeout(300)
def test_families_are_compared(movielens: Path, home: Path) -> None:
    lines = output_of("compare_families.py", str(movielens), "--rounds", "2").splitlines()[-5:]
    assert lines[0].split() == ["family", "arm", "loo_hr@10", "loo_ndcg@10", "ndcg@10"]
    found = {tuple(line.split()[:2]): [float(value) for value in line.split()[2:]] for line in lines[1:]}
    assert found.keys() == {(f, arm) for f in ("lightfm", "ease") for arm in ("federated", "silo_only")}
    # One of 100 candidates is held out, so chance reaches an HR@10 of .1.
    assert all(0.1 < hr <= 1.0 and 0.0 < full < ndcg < hr for hr, ndcg, full in found.values())
    # EASE over all silos sees every pair of items that a silo alone sees, and more.
    assert found["ease", "federated"][0] > found["ease", "silo_only"][0]


@pytest.mark.timeout(300)
def test_a_family_is_added(movielens: Path, home: Path) -> None:
    printed = output_of("new_family.py", str(movielens))
    federated, alone = (
        float(re.search(rf"^{arm} .*\bloo_hr@10 ([\d.]+)", printed, re.MULTILINE)[1])  # type: ignore[index]
        for arm in ("federated", "silo_only")
    )
    assert federated > alone > 0.1
