"""Canary, shadow and feedback: what is counted, what MLflow records of it, and a drop that rolls back."""

from __future__ import annotations

import json

import pytest

from models.promotion.live import Comparison, DropPolicy, Hits
from tasks.bundles.pointer import Pointer, write_pointer
from tasks.bundles.serving_folder import serving_folder
from tasks.bundles.tallies import (
    Tallies,
    comparison_key,
    read_tallies,
    serving_key,
    tallies_folder,
    write_tallies,
)
from tasks.promotion import ledger
from tasks.publishing.publish import publish
from tasks.publishing.rollback_on_drop import SHADOW_TAG, log_comparison, reason_to_roll_back
from tasks.tracking import registry
from tests.servers.free_port import free_port
from tests.serving.test_hot_swap import decide
from tests.worlds.served import ids, put_bundle, running, serving


@pytest.fixture
def pair(tmp_path):
    """Return a folder with a champion, version 1, and a challenger, version 2, of other factors."""
    pointer = Pointer(put_bundle(tmp_path, 1), put_bundle(tmp_path, 2))
    write_pointer(tmp_path, pointer)
    return tmp_path, pointer


def questions(count):
    return [{"history": [{"item_id": f"i{row % 60}"}], "k": 10 + row // 60} for row in range(count)]


def test_a_challenger_without_a_share_changes_nothing(pair):
    folder, _ = pair
    with serving(folder, folder / "log") as server:
        server.wait_until(server.is_ready)
        assert server.get("/v1/model")["challenger"]["version"] == 2
        assert {server.recommend(**each)["model"]["version"] for each in questions(50)} == {1}


def test_a_canary_answers_its_share_and_the_same_requests_each_time(pair):
    folder, _ = pair
    with serving(folder, folder / "log", canary=0.3) as server:
        server.wait_until(server.is_ready)
        first = [server.recommend(**each)["model"]["version"] for each in questions(300)]
        assert [server.recommend(**each)["model"]["version"] for each in questions(300)] == first
    # Of 300 draws, .3 are 90, with a standard deviation of 8.
    assert 60 <= first.count(2) <= 120


def test_a_shadow_is_compared_and_recorded_and_never_answers(pair):
    folder, pointer = pair
    key = comparison_key(pointer.champion, pointer.challenger)
    with serving(folder, folder / "log", shadow=1.0) as server:
        server.wait_until(server.is_ready)
        for each in questions(40):
            assert server.recommend(**each)["model"]["version"] == 1
        server.wait_until(lambda: key in read_tallies(folder).comparisons)
        server.wait_until(lambda: server.metric("fedrec_serving_shadows_total") >= 10)
    found = read_tallies(folder)
    figures = found.comparisons[key].figures()
    assert found.hits == {serving_key(pointer.champion): Hits(answers=40)}
    assert 10 <= figures["questions"] <= 40
    assert 0.0 < figures["overlap"] < 1.0
    assert figures["champion_ms"] > 0.0
    assert figures["challenger_ms"] > 0.0


def test_equal_models_overlap_wholly(tmp_path):
    pointer = Pointer(put_bundle(tmp_path, 1, seed=5), put_bundle(tmp_path, 2, seed=5))
    write_pointer(tmp_path, pointer)
    with serving(tmp_path, tmp_path / "log", shadow=1.0) as server:
        server.wait_until(server.is_ready)
        server.recommend(history=[{"item_id": "i1"}])
        server.wait_until(lambda: server.metric("fedrec_serving_shadows_total") == 1)
        assert server.metric("fedrec_serving_shadow_overlap_total") == 1


def test_feedback_counts_for_the_version_that_answered(pair):
    folder, pointer = pair
    with serving(folder, folder / "log") as server:
        server.wait_until(server.is_ready)
        for _ in range(3):
            server.recommend(history=[{"item_id": "i1"}])
        for version in (1, 1, 2):
            status, _, _ = server.ask("POST", "/v1/feedback", {"version": version, "item_id": "i7"})
            assert status == 202
        assert server.ask("POST", "/v1/feedback", {"version": 9, "item_id": "i7"})[0] == 404
        assert server.ask("POST", "/v1/feedback", {"version": 1, "item_id": "nope"})[0] == 404
        assert server.ask("POST", "/v1/feedback", {"version": 1})[0] == 422
        assert server.metric('fedrec_serving_hits_total{version="1"}') == 2
    # A process writes its counts before it ends.
    hits = read_tallies(folder).hits
    assert hits[serving_key(pointer.champion)] == Hits(answers=3, hits=2)
    assert hits[serving_key(pointer.challenger)] == Hits(answers=0, hits=1)
    assert not [each for each in ids() if each in next(tallies_folder(folder).glob("*")).read_text()]


def test_two_workers_act_as_one_service(tmp_path):
    pointer = Pointer(put_bundle(tmp_path, 1))
    write_pointer(tmp_path, pointer)
    with serving(tmp_path, tmp_path / "log", workers=2) as server:
        server.wait_until(server.is_ready)
        for each in questions(40):
            assert server.recommend(**each)["model"]["version"] == 1
        name = 'fedrec_serving_requests_total{endpoint="/v1/recommendations",status="200"}'
        # A worker counts an answer after it was sent, so the other one may be asked for the metrics before.
        server.wait_until(lambda: server.metric(name) == 40)
        write_pointer(tmp_path, Pointer(put_bundle(tmp_path, 2)))
        # Each worker reads the pointer by itself. Twenty connections reach both.
        server.wait_until(lambda: {server.get("/v1/model")["version"] for _ in range(20)} == {2})
    assert sum((each for each in read_tallies(tmp_path).hits.values()), Hits()) == Hits(answers=40)


def test_a_file_that_is_not_a_tally_counts_nothing(tmp_path):
    tallies = Tallies({"a": Hits(3, 1)}, {"b": Comparison(questions=2)})
    for process in ("one", "two"):
        write_tallies(tmp_path, process, tallies)
    (tallies_folder(tmp_path) / "three.json").write_text('{"hits": [1]}')

    assert read_tallies(tmp_path) == Tallies({"a": Hits(6, 2)}, {"b": Comparison(questions=4)})


@pytest.fixture
def successor(world, evaluated):
    """Let version 2 follow version 1 as champion. Both terms have their keys."""
    keys = []
    for round_ in (1, 2):
        decide(world, "promotion", world.register(round_, evaluated(0.3)))
        keys.append(serving_key(publish(world.home, world.client, "movies").champion))
    return world, keys


def test_the_challenger_s_version_records_how_it_differs(successor, evaluated):
    world, _ = successor
    version = world.register(3, evaluated(0.3))
    world.client.set_registered_model_alias("movies", "challenger", str(version))
    pointer = publish(world.home, world.client, "movies")
    compared = Comparison(
        4, overlap=3.0, shared=12, rank_difference=6.0, champion_s=0.004, challenger_s=0.008
    )
    tallies = Tallies({}, {comparison_key(pointer.champion, pointer.challenger): compared})

    assert log_comparison(world.client, "movies", pointer, tallies)
    assert not log_comparison(world.client, "movies", pointer, tallies)
    assert json.loads(registry.tags_of(world.client, "movies", version)[SHADOW_TAG]) == {
        "against": 2,
        "questions": 4.0,
        "overlap": 0.75,
        "mean_rank_difference": 0.5,
        "champion_ms": 1.0,
        "challenger_ms": 2.0,
    }
    assert not log_comparison(world.client, "movies", pointer, Tallies())


def test_a_drop_is_a_reason_only_after_a_promotion(successor):
    world, keys = successor
    policy = DropPolicy(max_drop=0.2, min_answers=100)
    fallen = Tallies({keys[0]: Hits(1000, 300), keys[1]: Hits(1000, 100)})

    def reason(tallies):
        pointer = publish(world.home, world.client, "movies")
        entries = ledger.read(world.home).entries
        return reason_to_roll_back(world.client, entries, "movies", pointer, tallies, policy)

    assert "0.1000 over 1000 answers, where version 1 had 0.3000" in str(reason(fallen))
    assert reason(Tallies({keys[0]: Hits(1000, 300), keys[1]: Hits(1000, 290)})) is None
    assert reason(Tallies({keys[1]: Hits(1000, 0)})) is None
    decide(world, "rollback", 1)
    decide(world, "promotion", 2)
    # After its second promotion it is judged by its answers from then on.
    assert reason(fallen) is None


@pytest.mark.timeout(240)
def test_a_drop_after_a_promotion_rolls_back(world, evaluated, tmp_path):
    for round_ in (1, 2):
        world.register(round_, evaluated(0.3))
    decide(world, "promotion", 1)
    port = free_port()
    command = ["-m", "flows", "serve", "--port", str(port), "--rate", "0"]
    command += ["--max-drop", "0.5", "--min-answers", "40"]
    with running(command, port, tmp_path / "log", {"FEDREC_HOME": str(world.home.root)}) as server:
        server.wait_until(server.is_ready)
        for version, hits in ((1, 30), (2, 0)):
            if version == 2:
                decide(world, "promotion", 2)
            server.wait_until(lambda version=version: server.get("/v1/model")["version"] == version)
            for _ in range(60):
                server.recommend(history=[{"item_id": "50"}], k=2)
            for _ in range(hits):
                server.ask("POST", "/v1/feedback", {"version": version, "item_id": "12"})
        server.wait_until(lambda: server.get("/v1/model")["version"] == 1, 150)
        found = server.get("/v1/model")
    assert world.aliases()["champion"] == 1
    assert found["decided_by"] == "fedrec publish"
    assert "hit rate 0.0000 over 60 answers, where version 1 had 0.5000" in found["reason"]
    assert serving_folder(world.home, "movies").is_dir()
