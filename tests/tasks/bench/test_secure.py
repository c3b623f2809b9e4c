"""The measurement of secure sums: what it counts, and that both ways make one model."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.errors import FedrecError
from tasks.bench.overhead.cases import Synthetic
from tasks.bench.secure.jobs import _require_one, job_row
from tasks.bench.secure.sums import SumCase, sum_row


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
