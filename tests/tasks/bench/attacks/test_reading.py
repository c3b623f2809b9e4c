"""Reading updates on a small world: the figures by other means, and what each view must show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, roc_auc_score

from models.evaluation.protocols import LEAVE_ONE_OUT
from models.recommenders.additive.blend import BlendFamily, BlendSpec
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.private.family import DpItemsFamily
from models.recommenders.private.spec import DpItemsSpec
from tasks.bench.attacks.markdown import tables
from tasks.bench.attacks.reading import (
    FITTED,
    FLOOR,
    BlendReader,
    Hidden,
    LightFMReader,
    PopularityReader,
    ReadingPlan,
    auc,
    best_f1,
    reading_rows,
)
from tasks.bench.attacks.table_rows import deals_of
from tasks.bench.quality.cases import by_client, by_user, clients_of
from tasks.datasets.partition_reader import open_partition

LIGHTFM = ReadingPlan(LightFMFamily(LightFMSpec(dims=4)), LightFMReader(), 3, (1,), (1, 100), 8)
BLEND = ReadingPlan(BlendFamily(BlendSpec(0.5, 5.0)), BlendReader(), 1, (1,), (1, 4), 8)
PRIVATE = ReadingPlan(DpItemsFamily(DpItemsSpec()), PopularityReader(), 1, (1,), (1, 4), 8)
PAIRS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=12).filter(
    lambda pairs: len({used for _, used in pairs}) == 2
)


@pytest.fixture(scope="module")
def clients(coloured_dir):
    return clients_of(open_partition(coloured_dir), LEAVE_ONE_OUT, "validation", negatives=5)


@pytest.fixture(scope="module")
def learners(clients):
    return by_user(clients)


@pytest.fixture(scope="module")
def of_blend(learners):
    return list(reading_rows({"1 user": learners}, BLEND, lambda _: None))


def value(rows: list[dict], view: str, score: str, metric: str = "auc") -> float:
    (row,) = (each for each in rows if (each["view"], each["score"], each["metric"]) == (view, score, metric))
    return float(row["value"])


@settings(max_examples=25)
@given(PAIRS)
def test_the_area_is_that_of_scikit_learn(pairs: list[tuple[int, bool]]):
    scores, used = np.array([float(score) for score, _ in pairs]), np.array([used for _, used in pairs])
    assert auc(scores, used) == pytest.approx(roc_auc_score(used, scores))


@settings(max_examples=25)
@given(PAIRS)
def test_the_best_f1_is_that_of_the_best_threshold(pairs: list[tuple[int, bool]]):
    scores, used = np.array([float(score) for score, _ in pairs]), np.array([used for _, used in pairs])
    expected = max(f1_score(used, scores >= threshold) for threshold in scores)
    assert best_f1(scores, used) == pytest.approx(expected)


def test_the_blends_update_of_one_user_reveals_the_users_items(of_blend):
    # The diagonal of the gram counts the users of each item, and here there is one.
    assert value(of_blend, "one update", "gram diagonal") == 1.0
    assert value(of_blend, "one update", "gram diagonal", "f1") == 1.0
    assert value(of_blend, "one update", FLOOR) < 0.9


def test_noise_hides_a_user_in_a_sum_and_hardly_in_an_update(learners):
    bare, weak, strong = (
        list(reading_rows({"1 user": learners}, replace(PRIVATE, hidden=hidden), lambda _: None))
        for hidden in (None, Hidden(8.0, 0.2, 9), Hidden(1.0, 20.0, 9))
    )
    assert value(bare, "one update", "sum") == 1.0
    assert value(weak, "one update", "sum") > 0.95
    assert value(strong, "one update", "sum") < 0.65
    assert value(strong, "sum of 5", "sum") < 0.6
    assert {row["family"] for row in strong} == {"dp_items, epsilon 1"}
    assert "### Reading dp_items, epsilon 1's updates" in tables(
        [{"part": "reading"} | row for row in strong]
    )


def test_a_sum_reveals_less_the_more_clients_it_has(of_blend):
    areas = [value(of_blend, view, FITTED) for view in ("one update", "sum of 2", "sum of 5")]
    assert areas[0] > areas[1] > areas[2]


def test_a_reader_that_learned_from_others_is_at_least_near_the_floor(of_blend):
    assert value(of_blend, "sum of 5", FITTED) > value(of_blend, "sum of 5", FLOOR) - 0.05


def test_a_first_update_of_lightfm_reveals_a_users_items(learners):
    rows = list(reading_rows({"1 user": learners}, LIGHTFM, lambda _: None))
    # A used item is a positive, so its bias rises. Other items are drawn as negatives, and theirs fall.
    assert value(rows, "one update", "bias") > 0.99
    # 90 clients have no sum of 101, and a sum of 2 is compared with the others' next one.
    assert {row["view"] for row in rows} == {"one update", "sum of 2", "sum of 2, minus the others' next sum"}
    assert {row["targets"] for row in rows} == {8}


def test_the_table_shows_the_floor_beside_the_best_reading(of_blend):
    text = tables([{"part": "reading"} | row for row in of_blend])
    assert "### Reading blend's updates" in text
    assert "| 90 (1 user) | 1 | one update |" in text
    assert "| 1.000 (1.000-1.000) gram diagonal |" in text


def test_the_deals_reach_from_one_user_to_a_silo(clients):
    assert {name: len(learners) for name, learners in deals_of(clients).items()} == {
        "1 user": 90,
        "5 users": 18,
        "50 users": 1,
        "silos": 3,
    }


def test_clients_whose_users_used_every_item_are_not_read(clients):
    # 30 users of 22 items each have used all 120 of them, so a mask of unused items is empty.
    messages: list[str] = []
    everything = {"silos": by_client(clients)}
    assert all(len(np.unique(learner.histories.items)) == 120 for learner in everything["silos"].values())
    assert list(reading_rows(everything, BLEND, messages.append)) == []
    assert "0 clients left an item unused" in messages[-1]
