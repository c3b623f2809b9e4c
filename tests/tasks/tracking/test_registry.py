"""Rounds become versions that can be found. They are read back only if their bytes are proved."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from models.errors import CatalogMismatch, CorruptArtifact, NotFound
from tasks.datasets.item_table import item_table, parquet_bytes
from tasks.local.home import Home
from tasks.tracking import registry
from tasks.tracking.registered_round import RegisteredRound


def test_a_round_is_a_version_with_all_its_tags(world, evaluated):
    version = world.register(3, evaluated(0.25))

    tags = world.client.get_model_version("movies", str(version)).tags
    assert version == 1
    assert tags["fedrec.job"] == "job-a"
    assert tags["fedrec.round"] == "3"
    assert tags["fedrec.contracts"] == "passed"
    assert len(tags["fedrec.sha256"]) == 64
    assert len(tags) == 8


def test_a_breached_contract_is_named_in_the_tag(world):
    contracts = {"interactions": "passed", "updates": "breached", "embeddings": "passed"}
    version = world.register(1, None, contracts=contracts)

    tags = world.client.get_model_version("movies", str(version)).tags
    assert tags["fedrec.contracts"] == "breached: updates"
    assert tags["fedrec.evaluated"] == "false"


def test_a_version_is_described_when_it_is_made(world, evaluated):
    versions = [world.register(1, None), world.register(2, evaluated(0.25))]

    found = [world.client.get_model_version("movies", str(version)).description for version in versions]
    assert found[0].startswith("Round 1 of job job-a: not evaluated; ")
    assert found[1].startswith("Round 2 of job job-a: NDCG@10 0.2500 on the validation cases; ")


def test_a_version_is_found_by_job_and_round(world):
    world.register(1, None)
    second = world.register(2, None)
    world.job_id = "job's"
    world.artifacts = world.artifacts / "other"
    other = world.register(2, None)

    assert registry.find_version(world.client, "movies", "job-a", 2) == second
    assert registry.find_version(world.client, "movies", "job's", 2) == other
    assert registry.find_version(world.client, "movies", "job-a", 3) is None


def test_the_newest_evaluated_version_need_not_be_the_newest(world, evaluated):
    assert registry.newest_evaluated(world.client, "movies") is None
    for round_ in range(1, 13):
        world.register(round_, evaluated(0.2) if round_ in (2, 10) else None)

    assert registry.newest_evaluated(world.client, "movies") == 10


def test_ensuring_a_registered_model_twice_changes_nothing(world):
    registry.ensure_registered_model(world.client, "movies")

    assert registry.registered_models(world.client) == ["movies"]


def test_a_loaded_version_is_what_was_committed(world, evaluated):
    version = world.register(4, evaluated(0.3))

    for name in (version, str(version)):
        loaded = registry.load_version(world.client, "movies", name)
        assert loaded.version == version
        assert loaded.record.round == 4
        assert loaded.sha256 == loaded.tags["fedrec.sha256"]
        assert loaded.items["title"].tolist()[2] == "Usual Suspects, The (1995)"
        assert loaded.model().items.biases[0] == np.float32(0.004)


def test_a_file_uri_is_read_from_its_path(world, evaluated):
    folder, record = world.commit(1, evaluated(0.3))
    version = registry.register_round(world.client, "movies", world.run_id, folder.as_uri(), record)

    assert registry.load_version(world.client, "movies", version).record == record


def test_an_alias_names_a_version(world):
    version = world.register(1, None)
    world.client.set_registered_model_alias("movies", "champion", str(version))

    assert registry.load_version(world.client, "movies", "champion").version == version


@pytest.mark.parametrize(
    ("name", "words"),
    [("champion", "has no champion"), ("shadow", "no alias 'shadow'"), (9, "no version 9")],
)
def test_a_missing_version_or_model_is_named(world, name, words):
    with pytest.raises(NotFound, match=words):
        registry.load_version(world.client, "movies", name)


def test_a_changed_model_is_refused(world):
    version = world.register(1, None)
    path = world.folders[version] / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))

    with pytest.raises(CorruptArtifact, match="record says") as caught:
        registry.load_version(world.client, "movies", version)
    assert caught.value.version == version


def test_a_model_changed_together_with_its_record_is_refused(world):
    version = world.register(1, None)
    path = world.folders[version] / "round.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"round": 2}))

    with pytest.raises(CorruptArtifact, match="changed after the round"):
        registry.load_version(world.client, "movies", version)


def test_a_registry_tag_that_names_another_model_is_refused(world):
    version = world.register(1, None)
    world.client.set_model_version_tag("movies", str(version), "fedrec.sha256", "0" * 64)

    with pytest.raises(CorruptArtifact, match="registry says 0000"):
        registry.load_version(world.client, "movies", version)


def test_a_record_that_is_not_json_is_refused(world):
    version = world.register(1, None)
    (world.folders[version] / "round.json").write_text("{")

    with pytest.raises(CorruptArtifact, match="is not JSON"):
        registry.load_version(world.client, "movies", version)


def test_a_missing_model_file_is_named(world):
    version = world.register(1, None)
    (world.folders[version] / "model.safetensors").unlink()

    with pytest.raises(NotFound, match=r"model\.safetensors is missing"):
        registry.load_version(world.client, "movies", version)


def test_a_version_made_by_another_tool_is_refused(world):
    made = world.client.create_model_version("movies", str(world.artifacts), run_id=world.run_id)

    with pytest.raises(CorruptArtifact, match="not made by fedrec"):
        registry.load_version(world.client, "movies", int(made.version))


def test_items_of_another_catalogue_are_refused(world):
    version = world.register(1, None)
    pd.DataFrame({"item_id": ["1", "2"]}).to_parquet(world.artifacts / "catalog" / "items.parquet")

    with pytest.raises(CorruptArtifact, match="items have digest"):
        registry.load_version(world.client, "movies", version)


def test_a_model_of_another_catalogue_is_refused(world):
    version = world.register(1, None)
    loaded = registry.load_version(world.client, "movies", version)
    backwards = parquet_bytes(item_table(loaded.items.iloc[::-1]))
    shuffled = RegisteredRound(version, loaded.record, loaded.model_bytes, backwards, loaded.tags)

    with pytest.raises(CatalogMismatch, match="rows of catalogue"):
        shuffled.model()


def test_the_model_name_may_be_omitted_only_if_it_is_clear(world):
    assert registry.resolve_model_name(world.client, None) == "movies"
    assert registry.resolve_model_name(world.client, "movies") == "movies"
    with pytest.raises(NotFound, match=r"No model 'books'.*movies"):
        registry.resolve_model_name(world.client, "books")
    registry.ensure_registered_model(world.client, "books")
    with pytest.raises(NotFound, match=r"books, movies.*--model"):
        registry.resolve_model_name(world.client, None)


def test_an_empty_registry_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    home = Home(tmp_path / "fresh")
    with pytest.raises(NotFound, match="Nothing is registered yet"):
        registry.open_registry(home)
    assert not home.root.exists()

    home.mlflow.mkdir(parents=True)
    registry.client(home)
    with pytest.raises(NotFound, match="No model is registered yet"):
        registry.resolve_model_name(registry.open_registry(home), None)
