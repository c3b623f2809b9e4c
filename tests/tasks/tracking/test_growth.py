"""No step costs more for the versions behind it: SQLite's instructions and the rows that MLflow loads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import event
from sqlalchemy.engine import Engine

from tasks.promotion import promote
from tasks.publishing.publish import Publisher
from tasks.tracking import registry
from tasks.tracking.run_tracker import Tracker, open_run
from tests.worlds.decisions import decision
from tests.worlds.records import evaluated_round, evaluation
from tests.worlds.registered import World

FEW, MANY = 10, 12_000


@dataclass
class Work:
    """What a database has done: instructions of SQLite, and versions that MLflow has loaded."""

    instructions: int = 0
    versions: int = 0

    def of(self, call: Callable[[], object]) -> tuple[int, int]:
        """Return what the second of two calls does: the first one fills caches."""
        call()
        self.instructions = self.versions = 0
        call()
        return self.instructions, self.versions


@pytest.fixture
def work() -> Iterator[Work]:
    from mlflow.store.model_registry.dbmodels.models import SqlModelVersion

    counted = Work()

    def count() -> None:
        counted.instructions += 1

    def watch(connection, *_) -> None:
        connection.connection.dbapi_connection.set_progress_handler(count, 1)

    def load(*_) -> None:
        counted.versions += 1

    event.listen(Engine, "before_cursor_execute", watch)
    event.listen(SqlModelVersion, "load", load)
    yield counted
    event.remove(Engine, "before_cursor_execute", watch)
    event.remove(SqlModelVersion, "load", load)


def steps(world: World) -> dict[str, Callable[[], object]]:
    """Return what jobs, publishers and commands do again and again."""
    client, publisher = world.client, Publisher(world.home, world.client, "movies")
    record = world.commit(900, evaluation(ash=(2.0, 4.0)))[1]
    return {
        "register a round": lambda: registry.register_round(
            client, "movies", world.run_id, str(world.folders[1]), record
        ),
        "open a job": lambda: registry.ensure_registered_model(client, "movies"),
        "publish": publisher.publish,
        "resolve the name": lambda: registry.resolve_model_name(client, "movies"),
        "read an alias": lambda: registry.version_of_alias(client, "movies", "champion"),
        "miss an alias": lambda: registry.version_of_alias(client, "movies", "none"),
        "find the newest evaluated": lambda: registry.newest_evaluated(client, "movies"),
        "load a version": lambda: registry.load_version(client, "movies", "champion"),
        "tag a version": lambda: client.set_model_version_tag("movies", "1", "a", "b"),
        "tag a model": lambda: client.set_registered_model_tag("movies", "a", "b"),
        "set an alias": lambda: client.set_registered_model_alias("movies", "other", "2"),
        "delete an alias": lambda: client.delete_registered_model_alias("movies", "other"),
    }


@pytest.fixture
def small(world, evaluated) -> World:
    """Return a world of a champion, a former one, and eight more versions."""
    for round_ in (1, 2):
        world.register(round_, evaluated(0.3))
        promote.record(world.home, world.client, decision(round_))
    world.copy_newest(FEW - 2)
    return world


def test_steps_cost_the_same_at_10_and_at_12_000_versions(small, work):
    calls = steps(small)
    before = {name: work.of(call) for name, call in calls.items()}
    small.copy_newest(MANY - FEW)
    assert registry.newest_evaluated(small.client, "movies") > MANY
    after = {name: work.of(call) for name, call in calls.items()}

    assert all(instructions > 0 for instructions, _ in before.values())
    grown = {
        name: (before[name], after[name])
        for name in calls
        if after[name][0] > 1.2 * before[name][0] or after[name][1] > before[name][1]
    }
    assert grown == {}


def test_a_promotion_costs_the_same_at_12_000_versions_as_at_10(small, work):
    def decide() -> None:
        standing = promote.settle(small.home, small.client, "movies")
        candidate = 3 - (standing.champion or 0)
        promote.compared_with(small.client, "movies", standing)
        promote.record(small.home, small.client, decision(candidate))

    instructions, loaded = work.of(decide)
    small.copy_newest(MANY - FEW)

    grown = work.of(decide)
    assert 0 < grown[0] <= 1.2 * instructions
    assert 0 < grown[1] <= loaded


def test_four_hundred_evaluated_rounds_are_tracked_and_each_costs_the_same(mlflow_home, work):
    tracker = open_run(mlflow_home, "films", "films-1", "movies", None, {})
    model = b"model"
    costs = []
    for round_ in range(1, 401):
        record = evaluated_round(
            round_,
            evaluation(ash=(2.0, 4.0), birch=(1.0, 4.0)),
            model_sha256=hashlib.sha256(model).hexdigest(),
            committed_at="2026-11-20T10:00:00+00:00",
        )
        work.instructions = 0
        tracker.log_round(record, model, {"drift": 1.0 / round_, "validation/ndcg@10": 0.4}, resumed=False)
        costs.append(work.instructions)
    rows = [{"round": 400, "client_id": "ash"}]
    tracker.log_result(
        {"quality/test/ndcg@10": 0.5},
        record,
        empty(mlflow_home.root / "report"),
        {"drift/clients.json": rows},
    )

    assert sum(costs[390:]) <= 1.2 * sum(costs[10:20])
    assert registry.find_version(tracker.client, "movies", "films-1", 400) == 400
    for name in ("clients/round-0001.json", "clients/round-0400.json", "drift/clients.json"):
        assert len(pd.read_json(tracker.client.download_artifacts(tracker.run_id, name), orient="split")) > 0
    # MLflow's UI shows the newest as tables. Its list stays far below the 8,000 characters of a tag.
    shown = tracker.client.get_run(tracker.run_id).data.tags["mlflow.loggedArtifacts"]
    assert json.loads(shown)[-2:] == [
        {"path": "clients/round-0400.json", "type": "table"},
        {"path": "drift/clients.json", "type": "table"},
    ]
    assert len(shown) < 2_000
    loaded = tracker.client.load_table(experiment_of(tracker), "drift/clients.json", [tracker.run_id])
    assert loaded["client_id"].tolist() == ["ash"]


def test_more_than_one_page_of_models_is_read(world):
    world.copy_model([f"model-{number:04d}" for number in range(1_005)])

    names = registry.registered_models(world.client)
    assert (len(names), names[0], names[-1]) == (1_006, "model-0000", "movies")
    assert registry.resolve_model_name(world.client, "model-1004") == "model-1004"


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


def experiment_of(tracker: Tracker) -> str:
    return str(tracker.client.get_run(tracker.run_id).info.experiment_id)
