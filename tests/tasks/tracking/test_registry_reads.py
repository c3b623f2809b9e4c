"""Reads of the registry: MLflow's client and its SQLite file give the same answers, which are known here."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest
from mlflow.tracking import MlflowClient

from models.errors import TrackingUnavailable
from tasks.tracking import registry
from tasks.tracking.mlflow_client.reads import (
    ClientReads,
    ExperimentEntry,
    FileReads,
    RegistryReads,
    reads_of_file,
)


@pytest.fixture(params=["client", "file"])
def reads(request: pytest.FixtureRequest, world: Any) -> RegistryReads:
    if request.param == "client":
        return ClientReads(MlflowClient())
    found = reads_of_file(world.home.mlflow_database)
    assert found is not None
    return found


def test_models_have_their_tags_and_aliases(world, evaluated, reads):
    world.register(1, evaluated(0.3))
    world.register(2, evaluated(0.4))
    world.client.set_registered_model_alias("movies", "champion", "2")
    world.client.set_registered_model_alias("movies", "previous", "1")
    world.client.create_registered_model("zoo", tags={"fedrec.kind": "other"})
    world.client.create_registered_model("bare")

    assert [each.name for each in reads.models()] == ["bare", "movies", "zoo"]
    [movies] = reads.models("movies")
    assert movies.tags == {"fedrec.kind": "recommender"}
    assert movies.aliases == {"champion": 2, "previous": 1}
    assert [each.name for each in reads.models(tag=("fedrec.kind", "other"))] == ["zoo"]
    assert [*reads.models("movies", ("fedrec.kind", "other"))] == []
    assert [*reads.models("nobody")] == []


def test_a_version_has_its_tags_and_its_origin(world, evaluated, reads):
    world.register(1, None)
    version = world.register(7, evaluated(0.3))

    found = reads.version("movies", version)

    assert (found.version, found.run_id) == (2, world.run_id)
    assert found.source == str(world.artifacts / "rounds" / "0007")
    assert found.created_at == world.client.get_model_version("movies", "2").creation_timestamp
    assert (found.tags["fedrec.round"], found.tags["fedrec.evaluated"]) == ("7", "true")
    assert reads.version("movies", 3) is None
    assert reads.version("books", 1) is None


def test_versions_come_newest_first_without_the_deleted_ones(world, reads):
    for round_ in range(1, 13):
        world.register(round_, None)
    world.client.delete_model_version("movies", "11")

    found = reads.newest_versions("movies")

    # As numbers: as text, 9 would come before 12.
    assert [each.version for each in found] == [12, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert reads.version("movies", 11) is None
    assert [*reads.newest_versions("books")] == []


def test_an_alias_names_a_version_until_it_is_removed(world, reads):
    world.register(1, None)
    assert reads.version_of_alias("movies", "champion") is None
    world.client.set_registered_model_alias("movies", "champion", "1")
    assert reads.version_of_alias("movies", "champion") == 1
    world.client.delete_model_version("movies", "1")
    assert reads.version_of_alias("movies", "champion") is None
    assert reads.version_of_alias("books", "champion") is None


def test_an_experiment_is_found_even_when_it_is_deleted(world, reads):
    made = world.client.create_experiment("decisions", tags={"a": "1", "b": "2 c"})
    tags = {"a": "1", "b": "2 c"}
    assert reads.experiment("decisions") == ExperimentEntry(made, "decisions", "active", tags)
    world.client.delete_experiment(made)
    assert reads.experiment("decisions") == ExperimentEntry(made, "decisions", "deleted", tags)
    assert reads.experiment("nothing") is None


def test_an_odd_name_is_one_name(world, reads):
    odd = "it's a model, 100% of_it"
    world.client.create_registered_model(odd, tags={"fedrec.kind": "recommender"})
    world.client.create_registered_model("it's a model, 100% of it")
    assert [each.name for each in reads.models(odd)] == [odd]
    assert [*reads.newest_versions(odd)] == []


def test_a_file_with_another_schema_is_left_to_mlflow(world):
    path = world.home.mlflow_database
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = 'of_a_later_mlflow'")
    assert reads_of_file(path) is None


@pytest.mark.parametrize("content", [None, b"", b"no database at all" * 100])
def test_what_is_not_a_database_of_mlflow_is_left_to_mlflow(tmp_path, content):
    path = tmp_path / "mlflow.db"
    if content is not None:
        path.write_bytes(content)
    assert reads_of_file(path) is None


def test_workspaces_are_left_to_mlflow(world, monkeypatch):
    monkeypatch.setenv("MLFLOW_ENABLE_WORKSPACES", "true")
    assert reads_of_file(world.home.mlflow_database) is None


def test_a_locked_file_is_an_outage(world):
    path = world.home.mlflow_database
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("BEGIN EXCLUSIVE")
        with pytest.raises(TrackingUnavailable, match=r"mlflow\.db: database is locked"):
            FileReads(path, lock_timeout_s=0.05).version("movies", 1)
    assert FileReads(path, lock_timeout_s=0.05).version("movies", 1) is None


def test_an_opened_registry_sees_what_others_and_it_itself_write(world, evaluated):
    opened = registry.open_registry(world.home)
    assert registry.newest_evaluated(opened, "movies") is None
    world.register(1, evaluated(0.3))
    assert registry.require_evaluated(opened, "movies") == 1
    opened.set_registered_model_alias("movies", "champion", "1")
    assert registry.version_of_alias(opened, "movies", "champion") == 1
    assert registry.all_aliases(opened) == {("movies", 1)}
