"""The index of a bundle: how much it finds, what is said about it, and what is refused."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.errors import CorruptArtifact
from models.recommenders.scoring.recommender import Recommender
from tasks.bench.serving.synthetic import embeddings_and_biases, factors, histories
from tasks.bundles import item_index
from tasks.bundles.bundle import Bundle, Labels, open_bundle, write_bundle
from tasks.bundles.item_index import FILE, build_index, is_worth_an_index, open_index, write_index
from tasks.local.checksums import sha256_of

ITEMS = 4_000
FACTS = {"model_name": "m", "version": 1, "items": ITEMS, "dims": 64}


def recommender(items: int = ITEMS) -> Recommender:
    names = [str(row) for row in range(items)]
    return Recommender(factors(embeddings_and_biases(items)), names, names)


@pytest.fixture(scope="module")
def model() -> Recommender:
    return recommender()


@pytest.fixture
def worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(item_index, "_WORTH_IT", 10_000)


def bundle_of(folder: Path, model: Recommender) -> Bundle:
    labels = Labels.of(ITEMS, {"parity:even": np.arange(0, ITEMS, 2)})
    digest = write_bundle(folder / "b", FACTS, model.scorer, model.item_ids, model.titles, labels)
    return open_bundle(folder / "b", digest)


def test_the_index_finds_what_it_promises(model: Recommender, worth_it: None, tmp_path: Path) -> None:
    opened = bundle_of(tmp_path, model)
    assert opened.index is not None
    assert opened.index["recall_at_10"] >= 0.98
    assert 8 <= opened.index["lists_read"] <= opened.index["lists"] / 8
    assert opened.recommender.index is not None
    shares = []
    for history in histories(embeddings_and_biases(ITEMS), 100):
        rows = [int(item_id) for item_id in history]
        exact = [each.item_id for each in model.recommend(rows, 10)]
        found = [each.item_id for each in opened.recommender.recommend(rows, 10)]
        shares.append(len(set(exact) & set(found)) / 10)
    assert np.mean(shares) >= 0.98


def test_equal_models_get_equal_indices_with_any_number_of_threads(
    model: Recommender, tmp_path: Path
) -> None:
    import faiss

    digests = set()
    for threads in (1, 2):
        faiss.omp_set_num_threads(threads)
        index = build_index(model)
        assert index is not None
        assert faiss.omp_get_max_threads() == threads
        write_index(tmp_path, index)
        digests.add((sha256_of(tmp_path / FILE), tuple(index.facts.items())))
    assert len(digests) == 1


def test_points_without_structure_get_no_index() -> None:
    """A query would have to read most of the lists, so a pass over all items is as fast."""
    random = np.random.default_rng(1)
    arrays = embeddings_and_biases(ITEMS)
    embeddings = random.standard_normal(arrays.embeddings.shape).astype(np.float32)
    scorer = factors(replace(arrays, embeddings=embeddings))
    names = [str(row) for row in range(ITEMS)]
    assert build_index(Recommender(scorer, names, names)) is None


def test_a_small_model_needs_none(model: Recommender, tmp_path: Path) -> None:
    assert not is_worth_an_index(model.scorer)
    opened = bundle_of(tmp_path, model)
    assert (opened.index, opened.recommender.index) == (None, None)


def test_without_faiss_a_pass_answers(
    model: Recommender, worth_it: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_index = bundle_of(tmp_path, model)
    monkeypatch.setitem(sys.modules, "faiss", None)
    assert build_index(model) is None
    opened = open_bundle(tmp_path / "b", sha256_of(tmp_path / "b" / "bundle.json"))
    assert with_index.index is not None
    assert (opened.index, opened.recommender.index) == (None, None)


def test_an_index_of_another_model_is_refused(model: Recommender, tmp_path: Path) -> None:
    index = build_index(recommender(3_000))
    assert index is not None
    write_index(tmp_path, index)
    with pytest.raises(CorruptArtifact, match="has 3000 items, expected 4000"):
        open_index(tmp_path, index.facts, model.scorer)


@pytest.mark.parametrize("content", [b"", b"no index"])
def test_a_file_that_is_no_index_is_refused(model: Recommender, tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(CorruptArtifact, match="is no index"):
        open_index(tmp_path, {"lists": 1, "lists_read": 1}, model.scorer)
