"""The measurement of secure sums: what it counts, and that both ways make one model."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from models.errors import FedrecError
from tasks.bench.overhead.cases import Synthetic
from tasks.bench.secure.flower import MOST_MEMBERS, row_of_found, secagg_row
from tasks.bench.secure.jobs import _require_one, job_row
from tasks.bench.secure.sums import FULL, QUICK, SumCase, sum_row


@pytest.mark.parametrize(("members", "parts"), [(4, 4), (35, 5)])
def test_a_sum_is_timed_part_by_part(members: int, parts: int) -> None:
    row = sum_row(SumCase(members, 100), repeats=1)
    assert (row["members"], row["values"]) == (members, 100)
    assert len(row["parts_s"]) == parts
    assert row["sum_s"] == pytest.approx(sum(row["parts_s"].values()), abs=0.01)
    # 16 bits a value, and two or six for the sum of so many.
    assert row["bytes_of_summand"] == 100 * (16 + (members - 1).bit_length()) // 8


def test_a_job_is_timed_with_plain_and_with_secure_sums(tmp_path: Path) -> None:
    said: list[str] = []
    row = job_row(tmp_path, 3, 1, Synthetic(users=30, items=60, liked=8), said.append)
    assert [line.split()[-2] for line in said] == ["plain", "secure"]
    for way in ("plain", "secure"):
        assert row[way]["job_s"] > 0
        assert row[way]["update_bytes"] > 0
    assert row["ratio_cpu_s"] == pytest.approx(row["secure"]["cpu_s"] / row["plain"]["cpu_s"], abs=1e-3)


def test_two_models_are_an_error() -> None:
    with pytest.raises(FedrecError, match="different models"):
        _require_one({"a", "b"})


def test_a_sum_by_flower_is_the_median_of_its_repeats_beside_ours() -> None:
    runs = [{"setup": 1.0, "unmask": each} for each in (8.0, 2.0, 3.0)]
    ours = {"sum_s": 0.5, "bytes_of_summand": 200}
    row = row_of_found(SumCase(21, 100), ours, {"seconds": runs, "bytes": 800})
    assert (row["members"], row["values"], row["requirement"][:6]) == (21, 100, "flwr==")
    assert (row["sum_s"], row["parts_s"]) == (4.0, {"setup": 1.0, "unmask": 3.0})
    # 4 / 0.5 and 800 / 200
    assert (row["ratio_sum_s"], row["ratio_bytes"]) == (8.0, 4.0)


def test_a_python_without_flower_cannot_make_its_sums() -> None:
    with pytest.raises(FedrecError, match=r"(?s)flower_sums\.py.*No module named 'flwr'"):
        secagg_row(Path(sys.executable), SumCase(5, 10), {}, repeats=1, timeout_s=60.0)


def test_flower_makes_sums_of_few_and_of_more_members_than_a_complete_graph() -> None:
    for cases in (FULL, QUICK):
        members = [case.members for case in cases if case.members <= MOST_MEMBERS]
        assert min(members) <= 32 < max(members)
