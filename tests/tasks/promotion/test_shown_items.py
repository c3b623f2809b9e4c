"""The items that registered versions show: which versions are compared, and over which items."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.federation.model import GlobalModel, ItemArrays
from models.kernel.catalog import ItemCatalog
from models.promotion.champions import Champion, Standing
from models.promotion.exposure import ExposurePolicy
from models.promotion.exposure_gate import exposure_gate
from models.recommenders.families.registry import families
from tasks.promotion.shown_items import EARLIER, shown_items

ITEMS, GROUPS = 360, 12
IDS = [f"i{row:03d}" for row in range(ITEMS)]
POLICY = ExposurePolicy()


def catalogue(ids: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame({"item_id": ids, "title": [f"Film {each}" for each in ids]})


def lightfm(ids: Sequence[str], seed: int = 0, **lifted: float) -> GlobalModel:
    """Return a model in which item n belongs to group n % 12; `lifted` are biases of items by id."""
    random = np.random.default_rng(seed)
    groups = np.array([int(each[1:]) % GROUPS for each in ids])
    embeddings = 3.0 * np.eye(GROUPS)[groups] + random.normal(0.0, 0.05, (len(ids), GROUPS))
    items = ItemArrays(
        embeddings=embeddings.astype(np.float32),
        biases=np.array([lifted.get(each, 0.0) for each in ids], dtype=np.float32),
        embedding_accumulators=np.ones(len(ids), dtype=np.float32),
        bias_accumulators=np.ones(len(ids), dtype=np.float32),
    )
    return GlobalModel(round=1, catalog_digest=ItemCatalog.of(ids).digest, items=items)


class Shop:
    """A registered model whose versions may have different catalogues, each made by a run of its own."""

    def __init__(self, world: Any) -> None:
        self.world, self.worlds = world, {}
        self.stack: list[Champion] = []

    def register(self, model: GlobalModel, ids: Sequence[str] = IDS) -> int:
        """Register a model as a version, and return its number."""
        own = self.worlds.setdefault(tuple(ids), self.world.beside("shop", catalogue(ids)))
        round_ = len(own.folders) + 1
        version = own.register(round_, None, model=model, catalog_digest=model.catalog_digest)
        self.stack.append(Champion(version, own.job_id, round_))
        return version

    def shown(self, version: int, *champions: int, policy: ExposurePolicy = POLICY) -> Any:
        stack = tuple(each for number in champions for each in self.stack if each.version == number)
        found = Standing(stack, champions[-1] if champions else None)
        return shown_items(self.world.client, "shop", version, found, policy)


@pytest.fixture
def shop(world) -> Shop:
    return Shop(world)


def test_each_version_makes_one_list_for_each_item(shop):
    first, second = shop.register(lightfm(IDS)), shop.register(lightfm(IDS, seed=1))

    found = shop.shown(second, first)

    assert list(found.earlier) == [first]
    assert found.titles[3] == "Film i003"
    for each in (found.candidate, found.earlier[first]):
        assert each.lists == ITEMS
        assert each.counts.sum() == 10 * ITEMS


def test_a_retraining_passes_and_a_lifted_item_is_held(shop):
    versions = [shop.register(lightfm(IDS, seed)) for seed in range(3)]
    lifted = shop.register(lightfm(IDS, seed=3, i077=9.0))

    assert exposure_gate(shop.shown(versions[2], *versions[:2]), POLICY).passed
    verdict = exposure_gate(shop.shown(lifted, *versions), POLICY)
    assert not verdict.passed
    assert verdict.observed.startswith("Film i077 [id i077] is in ")


def test_equal_versions_show_equal_items(shop):
    first, second = shop.register(lightfm(IDS)), shop.register(lightfm(IDS))
    found = shop.shown(second, first)
    assert found.candidate.counts.tolist() == found.earlier[first].counts.tolist()


def test_no_more_lists_are_made_than_the_policy_says(shop):
    first, second = shop.register(lightfm(IDS)), shop.register(lightfm(IDS, seed=1))
    found = shop.shown(second, first, policy=ExposurePolicy(lists=30))
    assert (found.candidate.lists, found.earlier[first].lists) == (30, 30)


def test_without_a_champion_nothing_is_compared(shop):
    found = shop.shown(shop.register(lightfm(IDS)))
    assert (found.candidate, found.earlier, found.error) == (None, {}, None)


def test_the_newest_champions_are_compared_each_once(shop):
    versions = [shop.register(lightfm(IDS, seed)) for seed in range(EARLIER + 2)]
    found = shop.shown(versions[-1], versions[2], *versions[:-1])
    assert list(found.earlier) == versions[-2:0:-1]


def test_items_are_compared_by_their_ids(shop):
    # The new catalogue has another order, lacks ten items and has ten more, which nobody likes yet.
    added = [f"n{row:03d}" for row in range(10)]
    new = [*reversed(IDS[10:]), *added]
    unliked = dict.fromkeys(added, -9.0)
    first = shop.register(lightfm(IDS))
    plain = shop.register(lightfm(new, **unliked), new)
    lifted = shop.register(lightfm(new, **unliked | {"n004": 9.0}), new)

    found = shop.shown(plain, first)
    # Histories are of the shared items only.
    assert (found.candidate.lists, found.earlier[first].lists) == (350, 350)
    assert exposure_gate(found, POLICY).passed
    own = found.earlier[first].counts
    assert own[-10:].tolist() == [0] * 10
    # Items that are gone take no place in the lists.
    assert own.sum() == 10 * 350
    verdict = exposure_gate(shop.shown(lifted, first), POLICY)
    assert not verdict.passed
    assert "Film n004 [id n004] is in " in verdict.observed


def test_a_version_of_other_items_is_left_out(shop):
    other = [f"x{row:03d}" for row in range(ITEMS)]
    old, near = shop.register(lightfm(other), other), shop.register(lightfm(IDS))
    candidate = shop.register(lightfm(IDS, seed=1))

    found = shop.shown(candidate, old, near)

    assert list(found.earlier) == [near]
    assert found.left_out == {old: "it has less than half of the items"}
    assert found.candidate.lists == ITEMS


def test_a_champion_that_is_damaged_is_left_out_with_the_reason(shop):
    versions = [shop.register(lightfm(IDS, seed)) for seed in range(3)]
    (world,) = shop.worlds.values()
    (world.folders[versions[1]] / "model.safetensors").unlink()

    found = shop.shown(versions[2], *versions[:2])

    assert list(found.earlier) == [versions[0]]
    assert "model.safetensors is missing" in found.left_out[versions[1]]


def test_a_damaged_candidate_is_an_error(shop):
    first, second = shop.register(lightfm(IDS)), shop.register(lightfm(IDS, seed=1))
    (world,) = shop.worlds.values()
    (world.folders[second] / "model.safetensors").write_bytes(b"other bytes")
    assert "SHA-256" in shop.shown(second, first).error


@pytest.mark.parametrize("family", families(), ids=lambda family: family.name())
def test_every_family_is_compared_with_every_other(shop, family):
    model = GlobalModel(1, ItemCatalog.of(IDS).digest, family(family.spec_type()).initial(ITEMS, 1))
    first, second = shop.register(lightfm(IDS)), shop.register(model)

    for candidate, champion in ((second, first), (first, second)):
        found = shop.shown(candidate, champion)
        assert found.candidate.counts.sum() == found.earlier[champion].counts.sum() == 10 * ITEMS
