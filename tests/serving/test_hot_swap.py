"""Promotions and rollbacks under load: no request fails, and every reply comes from one version."""

from __future__ import annotations

import http.client
import json
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from models.promotion.decision import PromotionDecision
from models.promotion.verdict import GateVerdict
from models.recommenders.scoring.recommender import Recommender
from tasks.bundles.pointer import Pointer, write_pointer
from tasks.promotion import ledger
from tasks.promotion import promote as shell
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry
from tests.servers.free_port import free_port
from tests.worlds.registered import World
from tests.worlds.served import put_bundle, running, serving

MOVES = 50
VERSIONS = 6
QUESTION = {"history": [{"item_id": "50"}], "k": 3}


@dataclass
class Load:
    """Clients that send requests without a pause until stopped, each over one connection."""

    port: int
    replies: list[dict[str, Any]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = json.dumps(QUESTION)
        while not self.stop.is_set():
            try:
                connection.request("POST", "/v1/recommendations", body, {"content-type": "application/json"})
                response = connection.getresponse()
                content = response.read()
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                return
            if response.status == 200:
                self.replies.append(json.loads(content))
            else:
                self.failures.append(content.decode())
            # A few hundred requests a second each: the promotions need the processors too.
            time.sleep(0.002)


def decide(world: World, kind: str, version: int) -> None:
    """Decide as the flows do, without Prefect."""
    with ledger.locked(world.home):
        standing = shell.settle(world.home, world.client, world.model_name)
        evidence, _ = shell.gather(world.client, world.model_name, version)
        decision = PromotionDecision(
            kind=kind,  # type: ignore[arg-type]
            model_name=world.model_name,
            candidate=version,
            incumbent=standing.champion,
            verdicts=(GateVerdict("artefact", True, "loads", "loads"),),
            actor="test",
            reason="",
            decided_at=shell.now(),
            evidence=evidence.identity(),
            policy={},
        )
        shell.record(world.home, world.client, decision)


def expected_scores(world: World, version: int) -> list[tuple[str, float]]:
    recommender: Recommender = recommender_of(registry.load_version(world.client, "movies", version))
    row = list(recommender.item_ids).index("50")
    return [(one.item_id, one.score) for one in recommender.recommend([row], 3)]


def test_a_promotion_with_other_items_fails_no_request(tmp_path):
    question = {"history": [{"item_id": "i40"}, {"item_id": "i8"}], "exclude": ["i41"], "k": 1}
    batch = {"requests": [question, {"history": [{"item_id": "i40"}]}, {"history": [{"item_id": "i8"}]}]}
    with serving(tmp_path, tmp_path / "log") as server:
        for version, items, unknown in ((1, 60, []), (2, 30, ["i40"]), (1, 60, [])):
            write_pointer(tmp_path, Pointer(put_bundle(tmp_path, version, items=items)))
            server.wait_until(
                lambda version=version: server.ask("GET", "/v1/model")[1].get("version") == version
            )
            assert server.recommend(**question)["unknown"] == unknown
            status, answers, _ = server.ask("POST", "/v1/recommendations/batch", batch)
            assert status == 200
            assert [one["unknown"] for one in answers["answers"]] == [unknown, unknown, []]
            assert [len(one["recommendations"]) for one in answers["answers"]] == [1, 10, 10]


@pytest.mark.timeout(280)
def test_fifty_promotions_and_rollbacks_under_load(world, evaluated, tmp_path):
    for round_ in range(1, VERSIONS + 1):
        world.register(round_, evaluated(0.3))
    decide(world, "promotion", 1)
    port = free_port()
    command = ["-m", "flows", "serve", "--port", str(port), "--rate", "0", "--quiet"]
    with running(command, port, tmp_path / "log", {"FEDREC_HOME": str(world.home.root)}) as server:
        server.wait_until(server.is_ready)
        # The service stays with its own model.
        world.beside("books")
        load = Load(port)
        clients = [threading.Thread(target=load.run) for _ in range(3)]
        for client in clients:
            client.start()
        stack = [1]
        for move in range(MOVES):
            if move % 5 in (2, 4):
                stack.pop()
                decide(world, "rollback", stack[-1])
            else:
                stack.append(stack[-1] % VERSIONS + 1)
                decide(world, "promotion", stack[-1])
            assert server.ask("POST", "/v1/refresh", {"any": "webhook"})[0] == 202
            server.wait_until(lambda: server.get("/v1/model")["version"] == stack[-1])
        load.stop.set()
        for client in clients:
            client.join()
        assert server.metric('fedrec_serving_swaps_total{result="done"}') >= MOVES
        assert server.metric('fedrec_serving_swaps_total{result="refused"}') == 0
        decided = server.get("/v1/model")

    assert load.failures == []
    assert len(load.replies) > MOVES * 10
    seen = {reply["model"]["version"] for reply in load.replies}
    assert seen == set(range(1, VERSIONS + 1))
    tags = {version: registry.tags_of(world.client, "movies", version) for version in seen}
    scores = {version: expected_scores(world, version) for version in seen}
    for reply in load.replies:
        version = reply["model"]["version"]
        assert reply["model"]["sha256"] == tags[version]["fedrec.sha256"]
        assert str(reply["model"]["round"]) == tags[version]["fedrec.round"]
        found = [(one["item_id"], one["score"]) for one in reply["recommendations"]]
        assert found == [(item, pytest.approx(score, abs=1e-6)) for item, score in scores[version]]
    # A rollback leads back to the earlier files, but its decision is the newest.
    assert decided["ledger_entry"] == ledger.read(world.home).entries[-2].hash
