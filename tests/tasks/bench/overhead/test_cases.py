"""The cases of the overhead benchmark and their data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from models.errors import InvalidInput, NotFound
from tasks.bench.overhead.cases import FULL, QUICK, Case, Synthetic, chosen_cases, tables_of
from tasks.datasets.client_assignment import ByUser
from tasks.datasets.partition import make_partition


def test_all_cases_are_measured_in_a_fixed_order():
    names = ["ml-100k-21", "ml-100k-943", "synthetic-1000", "synthetic-10000"]
    assert [case.name for case in chosen_cases([], quick=False, flower=False)] == names
    assert [case.name for case in chosen_cases([], quick=False, flower=True)] == [*names, "ml-100k-100"]
    assert [case.name for case in chosen_cases(names[::-1], quick=False, flower=False)] == names


def test_an_unknown_case_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInput, match=r"no case 'ml-25m'.*ml-100k-943"):
        chosen_cases(["ml-100k-21", "ml-25m"], quick=False, flower=False)
    with pytest.raises(InvalidInput, match="Choose from quick-4, quick-60"):
        chosen_cases(["ml-100k-21"], quick=True, flower=False)


def test_every_case_has_rounds_between_two_commits():
    # A round's seconds lie between two commits of trained rounds.
    assert all(case.rounds >= 3 for case in (*FULL, *QUICK))


def test_a_synthetic_world_has_its_numbers_and_prefers_popular_items(tmp_path):
    case = Case("tiny", 3, ByUser(), Synthetic(users=50, items=30, liked=6))
    tables = tables_of(case, tmp_path, tmp_path / "tables")
    rows = pd.read_csv(tables.interactions)
    assert rows.groupby("user_id")["item_id"].nunique().tolist() == [6] * 50
    ranks = rows["item_id"].str[1:].astype(int)
    # By Zipf's law the first half of the items has more than half of the uses.
    assert np.mean(ranks < 15) > 0.55
    partition = make_partition(tables.interactions, tmp_path / "partition", case.split, items=tables.items)
    assert (len(partition.clients), len(partition.catalog)) == (50, 30)


def test_a_synthetic_world_is_the_same_each_time(tmp_path):
    first, second = (
        tables_of(QUICK[1], tmp_path, tmp_path / name).interactions.read_bytes() for name in ("a", "b")
    )
    assert first == second


def test_without_movielens_the_next_step_is_named(tmp_path):
    with pytest.raises(NotFound, match="fedrec data fetch ml-100k --out"):
        tables_of(FULL[0], tmp_path, tmp_path / "tables")
