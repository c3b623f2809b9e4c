"""Publishing from a real registry: the service follows it, and a bad artefact is never published."""

from __future__ import annotations

import json
import os
import threading
import time

import numpy as np
import pandas as pd
import pytest

from models.errors import CorruptArtifact, FedrecError, LedgerTampered, NotFound
from models.recommenders.items.features import ItemFeatures
from tasks.bundles.bundle import open_bundle
from tasks.bundles.pointer import Pointer, nudge_path, publisher_path, read_pointer, write_pointer
from tasks.bundles.serving_folder import serving_folder
from tasks.local.home import Home
from tasks.promotion import ledger
from tasks.promotion.ledger_heads import remember
from tasks.publishing.follow_registry import Follower, follow_registry
from tasks.publishing.publish import Publisher, labels_of, publish
from tasks.tracking import registry
from tests.serving.test_hot_swap import decide
from tests.worlds.registered import EMBEDDINGS, ITEMS, model_of
from tests.worlds.served import put_bundle, serving


@pytest.fixture
def promoted(world, evaluated):
    """Return a registry of three versions, the first of which is the champion."""
    for round_ in (1, 2, 3):
        world.register(round_, evaluated(0.3))
    decide(world, "promotion", 1)
    return world


def test_the_champion_is_published_with_its_facts(promoted):
    pointer = publish(promoted.home, promoted.client, "movies")

    folder = serving_folder(promoted.home, "movies")
    bundle = open_bundle(folder / pointer.champion.bundle, pointer.champion.manifest_sha256)
    tags = registry.tags_of(promoted.client, "movies", 1)
    assert (bundle.facts["version"], bundle.facts["round"]) == (1, 1)
    assert bundle.facts["sha256"] == tags["fedrec.sha256"]
    assert list(bundle.recommender.item_ids) == ["1", "50", "12", "100"]
    assert bundle.recommender.titles[2] == "Usual Suspects, The (1995)"
    entry = ledger.read(promoted.home).entries[0]
    assert pointer.champion.decision["ledger_entry"] == entry.hash
    assert pointer.champion.decision["decided_by"] == "test"
    assert pointer.challenger is None
    assert read_pointer(folder) == pointer


def titles_of(world, pointer):
    folder = serving_folder(world.home, world.model_name)
    bundle = open_bundle(folder / pointer.champion.bundle, pointer.champion.manifest_sha256)
    assert bundle.facts["model_name"] == world.model_name
    return list(bundle.recommender.titles)


def other_titles(prefix):
    return ITEMS.assign(title=[f"{prefix} {item_id}" for item_id in ITEMS["item_id"]])


@pytest.mark.parametrize("name", ["fixed", "Movies", "movies 2", "a\\\\b", "film\u00e9"])
def test_models_of_equal_bytes_and_versions_are_published_apart(promoted, evaluated, name):
    fixed = promoted.beside(name, other_titles("New"))
    decide(fixed, "promotion", fixed.register(1, evaluated(0.3)))

    first = publish(promoted.home, promoted.client, "movies")
    second = publish(promoted.home, promoted.client, name)

    assert titles_of(promoted, first)[0] == "Toy Story (1995)"
    assert titles_of(fixed, second)[0] == "New 1"
    assert first.champion.bundle != second.champion.bundle
    assert promoted.home.serving in serving_folder(promoted.home, name).resolve().parents


def test_a_model_that_is_deleted_and_made_again_is_published_anew(world, evaluated):
    decide(world, "promotion", world.register(1, evaluated(0.3)))
    publisher = Publisher(world.home, world.client, "movies")
    first = publisher.publish()
    world.client.delete_registered_model("movies")
    again = world.beside("movies", other_titles("New"))
    version = again.register(1, evaluated(0.3))
    again.client.set_registered_model_alias("movies", "champion", str(version))

    # By the publisher that knew the first, and by a new one.
    second = publisher.publish()
    assert titles_of(again, second)[0] == "New 1"
    assert publish(world.home, world.client, "movies") == second
    assert first.champion.bundle.partition("-")[0] == second.champion.bundle.partition("-")[0] == "1"


@pytest.mark.parametrize(
    "change",
    [{"title": ["a", "b", "c", "d"]}, {"genres": ["War", "War", None, "Drama"]}, {"price": [1.5, 2, 3, 4]}],
)
def test_titles_labels_and_features_are_part_of_a_bundle_s_identity(promoted, change):
    first = publish(promoted.home, promoted.client, "movies")
    ITEMS.assign(**change).to_parquet(promoted.artifacts / "catalog" / "items.parquet")

    second = publish(promoted.home, promoted.client, "movies")

    assert first.champion.bundle != second.champion.bundle


def test_two_services_of_one_home_answer_from_their_own_models(promoted, evaluated, tmp_path):
    books = promoted.beside("books", other_titles("Book"))
    for round_ in (1, 2):
        books.register(round_, evaluated(0.3))
    decide(books, "promotion", 1)
    with (
        serving(serving_folder(promoted.home, "movies"), tmp_path / "log1") as one,
        serving(serving_folder(promoted.home, "books"), tmp_path / "log2", model_name="books") as two,
    ):
        publish(promoted.home, promoted.client, "movies")
        one.wait_until(one.is_ready)
        # What another model published makes no service ready.
        status, problem, _ = two.ask("GET", "/readyz")
        assert status == 503
        assert "fedrec promote --model books" in problem["detail"]
        publish(promoted.home, promoted.client, "books")
        two.wait_until(two.is_ready)
        decide(books, "promotion", 2)
        publish(promoted.home, promoted.client, "books")
        two.wait_until(lambda: two.get("/v1/model")["version"] == 2)
        assert one.get("/v1/model")["model_name"] == "movies"
        assert one.metric('fedrec_serving_swaps_total{result="done"}') == 1
        assert [each["title"] for each in two.get("/v1/items?query=1")["items"]][:1] == ["Book 1"]


def test_a_service_refuses_a_bundle_of_another_model(tmp_path):
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path)))  # of the model "movies"
    with serving(tmp_path, tmp_path / "log", model_name="books") as server:
        server.wait_until(lambda: server.metric('fedrec_serving_alarm{source="bundle"}') == 1)
        assert not server.is_ready()
    assert "is of model 'movies', not of 'books'" in server.log.read_text()


def test_what_earlier_versions_published_is_replaced(promoted):
    root = promoted.home.serving
    write_pointer(root, Pointer(put_bundle(root)))

    pointer = publish(promoted.home, promoted.client, "movies")

    assert [path.name for path in root.iterdir()] == ["movies"]
    assert read_pointer(root / "movies") == pointer


def test_publishing_again_writes_nothing(promoted):
    publish(promoted.home, promoted.client, "movies")
    folder = serving_folder(promoted.home, "movies")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    publish(promoted.home, promoted.client, "movies")

    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_a_challenger_is_published_beside_the_champion(promoted):
    promoted.client.set_registered_model_alias("movies", "challenger", "3")
    pointer = publish(promoted.home, promoted.client, "movies")

    assert pointer.challenger is not None
    assert pointer.challenger.bundle.startswith("3-")
    decide(promoted, "promotion", 3)
    assert publish(promoted.home, promoted.client, "movies").challenger is None


def test_a_changed_artefact_is_not_published(promoted):
    before = publish(promoted.home, promoted.client, "movies")
    decide(promoted, "promotion", 2)
    path = promoted.folders[2] / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")

    with pytest.raises(CorruptArtifact, match="SHA-256"):
        publish(promoted.home, promoted.client, "movies")
    assert read_pointer(serving_folder(promoted.home, "movies")) == before


def test_an_alias_moved_without_a_decision_is_not_followed(promoted):
    before = publish(promoted.home, promoted.client, "movies")
    promoted.client.set_registered_model_alias("movies", "champion", "2")

    with pytest.raises(LedgerTampered, match="version 2, but no decision made it champion"):
        publish(promoted.home, promoted.client, "movies")
    assert read_pointer(serving_folder(promoted.home, "movies")) == before


def test_a_decision_whose_alias_has_not_moved_yet_changes_nothing(promoted):
    before = publish(promoted.home, promoted.client, "movies")
    decide(promoted, "promotion", 2)
    # As between the two steps of a promotion: the decision is recorded, the alias has not moved yet.
    lines = promoted.home.ledger.read_text().splitlines(keepends=True)
    promoted.home.ledger.write_text("".join(lines[:-1]))
    last = ledger.read(promoted.home).entries[-1]
    remember(promoted.home, promoted.client, last)
    promoted.client.set_registered_model_alias("movies", "champion", "1")

    assert publish(promoted.home, promoted.client, "movies").champion == before.champion
    promoted.client.set_registered_model_alias("movies", "champion", "2")
    assert publish(promoted.home, promoted.client, "movies").champion.bundle.startswith("2-")


def test_a_home_without_the_ledger_follows_the_registry(promoted):
    promoted.home.ledger.unlink()

    assert publish(promoted.home, promoted.client, "movies").champion.decision == {}


def test_a_damaged_bundle_is_written_again_when_it_is_needed(promoted):
    first = publish(promoted.home, promoted.client, "movies")
    decide(promoted, "promotion", 2)
    publish(promoted.home, promoted.client, "movies")
    folder = serving_folder(promoted.home, "movies") / first.champion.bundle
    (folder / "biases.npy").write_bytes(b"")
    decide(promoted, "rollback", 1)

    again = publish(promoted.home, promoted.client, "movies")
    assert again.champion.manifest_sha256 == first.champion.manifest_sha256
    open_bundle(folder, again.champion.manifest_sha256)


def test_only_the_newest_bundles_are_kept(world, evaluated):
    for round_ in range(1, 8):
        decide(world, "promotion", world.register(round_, evaluated(0.3)))
        publish(world.home, world.client, "movies")

    kept = sorted(path.name.split("-")[0] for path in serving_folder(world.home, "movies").glob("[0-9]*"))
    assert kept == ["4", "5", "6", "7"]


def test_without_a_champion_nothing_is_published(world, evaluated):
    world.register(1, evaluated(0.3))

    with pytest.raises(NotFound, match="fedrec promote"):
        publish(world.home, world.client, "movies")


def test_whole_numbers_become_labels_and_measurements_do_not():
    catalog = pd.DataFrame(
        {
            "item_id": ["a", "b", "c"],
            "genres": [["Drama", "Comedy"], ["Comedy"], []],
            "year": [1995, np.nan, 1995],
            "length_h": [1.5, 2.0, 1.0],
        }
    )
    found = labels_of(ItemFeatures.of(catalog))

    assert found.names == ["genres:Comedy", "genres:Drama", "year:1995"]
    assert [found.of_item(row) for row in range(3)] == [
        ["genres:Comedy", "genres:Drama", "year:1995"],
        ["genres:Comedy"],
        ["year:1995"],
    ]


def test_a_publisher_that_follows_the_registry_publishes_at_a_nudge_and_writes_down_what_it_cannot(promoted):
    stop, heard = threading.Event(), threading.Condition()
    texts: list[str] = []

    def say(text: str) -> None:
        with heard:
            texts.append(text)
            heard.notify_all()

    def wait_for(count: int) -> None:
        with heard:
            assert heard.wait_for(lambda: len(texts) >= count, 30), texts

    folder = serving_folder(promoted.home, "movies")
    # An hour between two looks: only a request makes it look again.
    watching = threading.Thread(target=follow_registry, args=(promoted.home, None, 3600.0, stop, say))
    watching.start()
    try:
        wait_for(1)
        # It stays with the model that it has found.
        promoted.beside("books")
        assert json.loads(publisher_path(folder).read_bytes()) == {"error": ""}
        decide(promoted, "promotion", 2)
        nudge_path(folder).touch()
        wait_for(2)
        (promoted.folders[3] / "model.safetensors").unlink()
        decide(promoted, "promotion", 3)
        nudge_path(folder).touch()
        wait_for(3)
    finally:
        stop.set()
        watching.join(30)
    assert [text.split("-")[0] for text in texts[:2]] == ["published 1", "published 2"]
    assert "missing" in texts[2]
    assert "missing" in json.loads(publisher_path(folder).read_bytes())["error"]
    pointer = read_pointer(folder)
    assert pointer is not None
    assert pointer.champion.bundle.startswith("2-")


def test_a_publisher_waits_for_a_registry_that_is_not_there_yet(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.delenv("MLFLOW_REGISTRY_URI", raising=False)
    stop = threading.Event()
    texts: list[str] = []

    def say(text: str) -> None:
        texts.append(text)
        stop.set()

    follow_registry(Home(tmp_path), None, 0.1, stop, say)
    assert "Nothing is registered yet" in texts[0]


def test_items_that_no_user_trained_on_are_placed_by_their_features(world, evaluated):
    pd.DataFrame(
        {
            "item_id": ["1", "50", "12", "100"],
            "title": ["a", "b", "c", "d"],
            "genres": ["War", "War", "Drama", "Drama"],
        }
    ).to_parquet(world.artifacts / "catalog" / "items.parquet")
    model = model_of(1, EMBEDDINGS * 3)
    # The last row has its initial values: no gradient reached it.
    embeddings, accumulators = model.items.embeddings.copy(), np.full(4, 5.0, dtype=np.float32)
    embeddings[3] = [0.5, -0.5]
    accumulators[3] = 1.0
    biases = np.full(4, 5.0, dtype=np.float32)
    biases[3] = 1.0
    items = type(model.items)(embeddings, model.items.biases, accumulators, biases)
    version = world.register(1, evaluated(0.3), model=type(model)(1, model.catalog_digest, items))
    decide(world, "promotion", version)

    pointer = publish(world.home, world.client, "movies")
    bundle = open_bundle(
        serving_folder(world.home, "movies") / pointer.champion.bundle, pointer.champion.manifest_sha256
    )
    # From the mean of the trained ones, (2, 1), it moves towards (0, 3), the place of the only trained drama.
    placed = bundle.recommender.scorer.side.embeddings[3]
    assert placed[0] < 2.0
    assert placed[1] > 1.0
    assert bundle.recommender.scorer.side.embeddings[:3].tolist() == embeddings[:3].tolist()


def test_a_bad_bundle_keeps_the_old_version_and_raises_the_alarm(promoted, tmp_path):
    folder = serving_folder(promoted.home, "movies")
    publish(promoted.home, promoted.client, "movies")
    with serving(folder, tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        assert server.metric('fedrec_serving_alarm{source="bundle"}') == 0
        decide(promoted, "promotion", 2)
        pointer = publish(promoted.home, promoted.client, "movies")
        server.wait_until(lambda: server.get("/v1/model")["version"] == 2)
        # The bytes of the third version change between publisher and service.
        decide(promoted, "promotion", 3)
        bad = publish_damaged(promoted, folder)
        server.wait_until(lambda: server.metric('fedrec_serving_alarm{source="bundle"}') == 1)
        assert server.metric('fedrec_serving_swaps_total{result="refused"}') == 1
        assert server.get("/v1/model")["version"] == 2
        assert f"{bad}" in server.log.read_text()

        decide(promoted, "rollback", 2)
        assert publish(promoted.home, promoted.client, "movies").champion.bundle == pointer.champion.bundle
        server.wait_until(lambda: server.metric('fedrec_serving_alarm{source="bundle"}') == 0)
        publisher_path(folder).write_text('{"error": "the registry is away"}')
        server.wait_until(lambda: server.metric('fedrec_serving_alarm{source="publisher"}') == 1)
        # No process follows the registry any more.
        os.utime(publisher_path(folder), (0, 0))
        server.wait_until(lambda: server.metric("fedrec_serving_publisher_age_seconds") > 1e6)


def test_a_publisher_that_gives_no_sign_raises_the_alarm(promoted, tmp_path):
    folder = serving_folder(promoted.home, "movies")
    publish(promoted.home, promoted.client, "movies")
    alarm = 'fedrec_serving_alarm{source="publisher"}'
    with serving(folder, tmp_path / "log", publisher_silence=1.0) as server:
        server.wait_until(lambda: server.metric(alarm) == 1)
        assert "publisher silent" in server.log.read_text()
        ahead = time.time() + 3600.0
        publisher_path(folder).write_text('{"error": ""}')
        os.utime(publisher_path(folder), (ahead, ahead))
        server.wait_until(lambda: server.metric(alarm) == 0)


def publish_damaged(world, folder):
    """Publish the champion, but change a byte of the bundle before any process sees the pointer."""
    shown = read_pointer(folder)
    aside = world.home.root / "aside"
    elsewhere = _elsewhere(world, aside)
    pointer = publish(elsewhere, world.client, "movies")
    (serving_folder(elsewhere, "movies") / pointer.champion.bundle).rename(folder / pointer.champion.bundle)
    path = folder / pointer.champion.bundle / "embeddings.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    assert shown != pointer
    write_pointer(folder, pointer)
    return pointer.champion.bundle


def _elsewhere(world, root):
    """Return a home with the same ledger, whose bundles go to another folder."""
    home = Home(root)
    home.ledger.parent.mkdir(parents=True)
    home.ledger.write_bytes(world.home.ledger.read_bytes())
    return home


def test_a_follower_publishes_the_champion_without_a_challenger_that_it_cannot(promoted):
    promoted.client.set_registered_model_alias("movies", "challenger", "3")
    (promoted.folders[3] / "model.safetensors").unlink()
    folder = serving_folder(promoted.home, "movies")
    follower = Follower(promoted.home, "movies", folder, print, None, None, None)

    for _ in range(2):
        with pytest.raises(FedrecError, match=r"1-\w+ is published without a challenger.*missing"):
            follower.look()
    pointer = read_pointer(folder)
    assert pointer is not None
    assert (pointer.champion.bundle[:2], pointer.challenger) == ("1-", None)
    promoted.client.delete_registered_model_alias("movies", "challenger")
    assert follower.look() == pointer
