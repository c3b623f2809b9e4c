"""Reading compressed updates: in memory they are larger than their files, but no larger than their arrays."""

from __future__ import annotations

import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest

from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.training import initial_items
from tasks.coordinator.update_intake import UpdateIntake
from tasks.exchange.codec import encode, encode_model, encode_update
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.messages.answers import Delivery

CLIENTS = ("ash", "birch", "cedar")
ITEMS, DIMS = 400, 16
RULE = merge_rule("adagrad_sum", sent_bits=5)


@pytest.fixture
def exchange(tmp_path: Path) -> Exchange:
    return Exchange((tmp_path / "exchange").as_uri())


@pytest.fixture
def base(exchange: Exchange) -> tuple[GlobalModel, ArtifactRef]:
    model = GlobalModel(3, "cat", initial_items(ITEMS, DIMS, 1))
    return model, exchange.put("job-1/models", encode_model(model))


def update(client_id: str, base_sha256: str) -> ClientUpdate:
    """Return an update with a value in each row, most of the others zeros."""
    embeddings = np.zeros((ITEMS, DIMS), np.float32)
    embeddings[:, CLIENTS.index(client_id)] = 2.0
    rest = [np.full(ITEMS, 1.0, np.float32) for _ in range(3)]
    contribution = RULE.rounded(RULE.contribution(ItemArrays(embeddings, *rest), 10))
    return ClientUpdate(client_id, 3, base_sha256, "cat", contribution)


def delivery(exchange: Exchange, client_id: str, data: bytes) -> Delivery:
    return Delivery(client_id, exchange.put(f"job-1/updates/4/{client_id}", data), 0.0, 1.0, 0.5)


def test_updates_that_are_too_large_only_in_memory_are_not_held(exchange, base, monkeypatch):
    model, ref = base
    updates = {each: update(each, ref.sha256) for each in CLIENTS}
    files = {each: encode_update(one, compressed=True) for each, one in updates.items()}
    deliveries = [delivery(exchange, each, data) for each, data in files.items()]
    held = UpdateIntake(exchange, RULE, model, ref, deliveries)
    assert held.held(deliveries).keys() == set(CLIENTS)
    # Two are within the bound, and the files of all.
    bound = 2 * 4 * ITEMS * (DIMS + 3)
    assert sum(map(len, files.values())) < bound
    monkeypatch.setattr("tasks.coordinator.update_intake.HELD_BYTES", bound)
    intake = UpdateIntake(exchange, RULE, model, ref, deliveries)
    assert intake.held(deliveries) == {}
    expected = RULE.summation(model)
    for each in CLIENTS:
        expected.add(each, updates[each].contribution)
    for name, total in expected.result().total.named():
        assert np.array_equal(dict(intake.sum_of(deliveries).total.named())[name], total), name
    two = [each for each in deliveries if each.client_id != "birch"]
    assert intake.sum_of(two).clients == ("ash", "cedar")


def test_a_compressed_file_of_more_than_the_arrays_is_not_unpacked(exchange, base):
    model, ref = base
    # Noise in a part of the file, so that it is less than 64 times as large as its compressed bytes.
    noise = np.random.default_rng(1).integers(0, 256, 50_000, dtype=np.uint8)
    large = np.concatenate([np.zeros(3_000_000, np.uint8), noise])
    smaller = zlib.compress(encode({"large": large}, {"kind": "client_update"}))
    data = encode({"zlib": np.frombuffer(smaller, np.uint8)}, {"kind": "compressed"})
    deliveries = [delivery(exchange, "ash", data)]
    assert len(data) < 8 * ITEMS * (DIMS + 3) < len(large) < 64 * len(smaller)
    tracemalloc.start()
    intake = UpdateIntake(exchange, RULE, model, ref, deliveries)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert "do not end where they should" in intake.refused["ash"]
