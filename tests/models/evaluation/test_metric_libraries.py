"""The metrics agree with other libraries on the same rankings, or differ as docs/quality.md says.

The figures of the libraries were computed by benchmarks/metric_libraries.py, each in its own environment.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.ranking import held_out_ranks
from models.evaluation.user_sums import share_values

TABLE = json.loads(Path(__file__).with_name("metric_libraries.json").read_text(encoding="utf-8"))
USERS = tuple(TABLE["places"])
every_user = pytest.mark.parametrize("user", USERS)
NONE = np.array([], dtype=np.int64)


def ours(user: str) -> dict[str, float]:
    """Return fedrec's metrics of a user whose items have falling scores."""
    held_out = np.array(TABLE["places"][user])
    ranks = held_out_ranks(
        lambda users: np.tile(-np.arange(TABLE["items"], dtype=float), (len(users), 1)),
        TABLE["items"],
        case_users=np.zeros(len(held_out), dtype=int),
        case_items=held_out,
        train_users=NONE,
        train_items=NONE,
        negatives=np.empty((len(held_out), 0), dtype=np.int32),
    )
    values, _ = share_values(ranks.full, np.zeros(len(held_out), dtype=int))
    return dict(zip(("ndcg@10", "recall@20", "map"), values[0].tolist(), strict=True))


def theirs(library: str, user: str) -> dict[str, float]:
    found: dict[str, float] = TABLE["figures"][library][user]
    return found


@every_user
@pytest.mark.parametrize("library", ["ranx", "ir-measures"])
def test_ranx_and_ir_measures_have_the_same_figures(library, user):
    assert theirs(library, user) == pytest.approx(ours(user), abs=1e-12)


@every_user
def test_rectools_has_an_ideal_of_k_items_by_default(user):
    found, own = theirs("RecTools", user), ours(user)
    achievable = min(len(TABLE["places"][user]), 10)
    share = sum(1 / math.log2(rank + 1) for rank in range(1, achievable + 1))
    share /= sum(1 / math.log2(rank + 1) for rank in range(1, 11))
    assert found.pop("ndcg@10") == pytest.approx(own["ndcg@10"] * share, abs=1e-12)
    assert found.pop("ndcg@10, divide_by_achievable") == pytest.approx(own.pop("ndcg@10"), abs=1e-12)
    assert found == pytest.approx(own, abs=1e-12)


@every_user
def test_implicit_divides_by_the_smaller_of_k_and_the_held_out_items(user):
    found, ranks = theirs("implicit", user), [place + 1 for place in TABLE["places"][user]]
    assert found["ndcg@10"] == pytest.approx(ours(user)["ndcg@10"], abs=1e-12)
    hits = sum(rank <= 20 for rank in ranks)
    assert found["precision@20"] == pytest.approx(hits / min(20, len(ranks)), abs=1e-12)
    precisions = sum(place / rank for place, rank in enumerate(ranks, 1) if rank <= 10)
    assert found["map@10"] == pytest.approx(precisions / min(10, len(ranks)), abs=1e-12)
