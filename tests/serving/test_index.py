"""A service whose bundle has an index says so, and answers with exact scores."""

from __future__ import annotations

import numpy as np
import pytest

from models.recommenders.scoring.recommender import Recommender
from tasks.bench.serving.synthetic import embeddings_and_biases, factors, histories
from tasks.bundles import item_index
from tasks.bundles.bundle import Labels, write_bundle
from tasks.bundles.pointer import Pointer, Target, write_pointer
from tests.worlds.served import facts, serving

ITEMS = 4_000


def test_the_service_answers_by_the_index_and_names_its_recall(tmp_path, monkeypatch):
    monkeypatch.setattr(item_index, "_WORTH_IT", 10_000)
    model = embeddings_and_biases(ITEMS)
    names = [str(row) for row in range(ITEMS)]
    exact = Recommender(factors(model), names, names)
    even = Labels.of(ITEMS, {"parity:even": np.arange(0, ITEMS, 2)})
    digest = write_bundle(tmp_path / "1-x", facts(1, ITEMS) | {"dims": 64}, exact.scorer, names, names, even)
    write_pointer(tmp_path, Pointer(Target("1-x", digest, {})))
    found = []
    with serving(tmp_path, tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        index = server.get("/v1/model")["index"]
        for history in histories(model, 20):
            rows = [int(item_id) for item_id in history]
            items = [{"item_id": item_id} for item_id in history]
            answer = server.recommend(history=items, k=10)["recommendations"]
            scores = exact.scores(rows)
            for each in answer:
                assert each["score"] == pytest.approx(float(scores[int(each["item_id"])]), abs=1e-4)
                assert each["item_id"] not in history
            best = {each.item_id for each in exact.recommend(rows, 10)}
            found.append(len(best & {each["item_id"] for each in answer}))
            # With a filter, a pass over all items answers.
            allowed = np.arange(ITEMS) % 2 == 0
            filtered = server.recommend(history=items, k=10, features=["parity:even"])["recommendations"]
            assert [each["item_id"] for each in filtered] == [
                each.item_id for each in exact.recommend(rows, 10, allowed=allowed)
            ]
    assert index["recall_at_10"] >= 0.98
    assert np.mean(found) >= 9.8
