"""The model that a job starts from: random, or the champion carried over."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.errors import InvalidConfig, NotFound
from models.federation.model import GlobalModel
from models.kernel.catalog import ItemCatalog
from models.recommenders.families.registry import family_of
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from tasks.coordinator.initial_model import fresh_model, model_of_champion
from tasks.coordinator.lineage import contexts_of_silos, records_of
from tasks.exchange.codec import decode_model, encode_model
from tasks.jobs.journal import held
from tasks.local.home import Home
from tasks.messages.earlier_training import EarlierJob, EarlierTraining, SplitFacts
from tasks.messages.job_opening import EarlierState
from tasks.messages.round_record import EvaluatedRound
from tasks.tracking import registry
from tests.worlds.jobs import job_of
from tests.worlds.records import opening, round_record

SPEC = LightFMSpec(dims=4)
KNOWN = ItemCatalog.of(["a", "b", "c"])


def test_a_fresh_model_depends_on_items_dims_and_seed_alone():
    lightfm, wider = family_of(SPEC), family_of(LightFMSpec(dims=5))
    model = fresh_model(KNOWN, lightfm, 7)
    decoded = decode_model(model.data)
    assert (decoded.round, decoded.catalog_digest, decoded.items.shape) == (0, KNOWN.digest, (3, 4))
    assert model.sha256 == hashlib.sha256(model.data).hexdigest()
    assert model.starting_points == {}
    assert fresh_model(KNOWN, lightfm, 7) == model
    others = [(ItemCatalog.of("abd"), lightfm, 7), (KNOWN, wider, 7), (KNOWN, lightfm, 8)]
    assert all(fresh_model(*other).sha256 != model.sha256 for other in others)


def record_of(job_id: str, round_: int, data: bytes, accepted: list[str]) -> EvaluatedRound:
    return round_record(
        round_,
        *accepted,
        job_id=job_id,
        model_sha256=hashlib.sha256(data).hexdigest(),
        model_bytes=len(data),
        catalog_digest=KNOWN.digest,
    ).with_evaluation(None)


FRESH = {"start_from": "fresh", "runner": {"kind": "threads"}, "evaluation": {"seed": 5}}
SPLIT = SplitFacts("d" * 64, 5)


@pytest.fixture
def champion(make_champion: Callable[..., Home]) -> Home:
    """Make round 2 of a job that began with a fresh model the champion."""
    return make_champion(FRESH)


@pytest.fixture
def make_champion(mlflow_home: Home) -> Callable[..., Home]:
    """Return a function that makes round 2 of a job of this configuration the champion."""
    return lambda config, earlier=None: _made_champion(mlflow_home, config, earlier)


def _made_champion(mlflow_home: Home, config: dict[str, Any] | None, earlier: EarlierTraining | None) -> Home:
    """Make round 2 of a job of three rounds the champion. Its four arrays hold 1, 2, 3 by item."""
    rows = np.array([1, 2, 3], dtype=np.float32)
    items = initial_items(3, 4, 1).map(lambda a: np.ones_like(a) * (rows if a.ndim == 1 else rows[:, None]))
    data = encode_model(GlobalModel(2, KNOWN.digest, items))
    with held(mlflow_home.jobs, "films", "k" * 64, opening()) as journal:
        for round_, accepted in enumerate([[], ["ash", "birch"], ["ash"], ["ash", "birch", "cedar"]]):
            journal.commit(record_of(journal.job_id, round_, data, accepted))
    client = registry.client(mlflow_home)
    location = (mlflow_home.mlflow / "artifacts").as_uri()
    run = client.create_run(client.create_experiment("films", artifact_location=location))
    artifacts = Path(run.info.artifact_uri.removeprefix("file://"))
    folder = artifacts / "rounds" / "0002"
    folder.mkdir(parents=True)
    record = replace(record_of(journal.job_id, 2, data, ["ash"]), earlier=earlier)
    (folder / "model.safetensors").write_bytes(data)
    (folder / "round.json").write_text(json.dumps(record.to_json(), indent=1, sort_keys=True))
    if config is not None:
        (artifacts / "config.yaml").write_text(json.dumps(config))
    (artifacts / "catalog").mkdir()
    pd.DataFrame({"item_id": KNOWN.ids, "title": ["A", "B", "C"]}).to_parquet(
        artifacts / "catalog" / "items.parquet"
    )
    registry.ensure_registered_model(client, "movies")
    version = registry.register_round(client, "movies", run.info.run_id, folder.as_uri(), record)
    client.set_registered_model_alias("movies", registry.CHAMPION, str(version))
    return mlflow_home


def test_the_champion_is_carried_over_with_the_users_that_belong_to_it(champion):
    catalog = ItemCatalog.of(["c", "new", "a"])
    found = model_of_champion(champion, "movies", 1, catalog, family_of(SPEC), 7)
    model = decode_model(found.data)
    fresh = initial_items(3, 4, 7)
    assert (model.round, model.catalog_digest) == (0, catalog.digest)
    assert (model.items.embeddings[0] == 3).all()
    assert np.array_equal(model.items.embeddings[1], fresh.embeddings[1])
    assert model.items.biases.tolist() == [3, 0, 1]
    assert model.items.bias_accumulators.tolist() == [3, 1, 1]
    # Birch was last in round 1. Cedar joined in round 3, after the champion.
    job = "films-kkkkkkkk-1"
    assert found.starting_points == {
        "ash": EarlierState(job, 2),
        "birch": EarlierState(job, 1),
    }


def earlier_of(home: Home) -> EarlierTraining:
    found = model_of_champion(home, "movies", 1, KNOWN, family_of(SPEC), 7).earlier
    assert found is not None
    return found


def job_of_champion(home: Home) -> str:
    (opened,) = home.jobs.glob("*/job.json")
    return opened.parent.name


def test_the_champion_s_rounds_and_jobs_are_known(champion):
    # The record names the data "dd...", and the champion is round 2 of its job.
    own = EarlierJob(job_of_champion(champion), SPLIT)
    assert earlier_of(champion) == EarlierTraining(1, 2, (own,))
    assert fresh_model(KNOWN, family_of(SPEC), 7).earlier is None


@pytest.mark.parametrize(
    ("config", "rounds"),
    [
        # An older version began this job with a champion, of which its records say nothing.
        (FRESH | {"start_from": "champion"}, None),
        (None, None),
        # The data of silos on other machines may change while their digest stays the same.
        (FRESH | {"runner": {"kind": "silos"}}, 2),
        (FRESH | {"evaluation": {}}, 2),
    ],
)
def test_what_is_not_known_of_a_champion_may_be_held_out_here(make_champion, config, rounds):
    home = make_champion(config)
    found = earlier_of(home)
    assert found == EarlierTraining(1, rounds, (EarlierJob(job_of_champion(home), None),))
    assert found.other_jobs(SPLIT) == (job_of_champion(home),)


def test_jobs_and_rounds_add_up_over_a_lineage(make_champion):
    first = EarlierJob("films-first-1", SplitFacts("e" * 64, 5))
    home = make_champion(FRESH | {"start_from": "champion"}, EarlierTraining(30, 30, (first,)))
    own = EarlierJob(job_of_champion(home), SPLIT)
    found = earlier_of(home)
    assert found == EarlierTraining(1, 32, (first, own))
    assert found.rounds_with(4) == 36
    # Only jobs that held out the same interactions cannot have trained on them.
    assert found.other_jobs(SPLIT) == (first.job_id,)
    assert found.other_jobs(first.split) == (own.job_id,)
    for other in (SplitFacts("d" * 64, 6), None):
        assert found.other_jobs(other) == (first.job_id, own.job_id)


def test_a_silo_needs_a_record_only_of_the_jobs_in_which_it_took_part(champion, tmp_path, partition_dir):
    job = job_of_champion(champion)
    context = job_of(partition_dir, tmp_path, earlier_jobs=(job, "films-elsewhere-1"))
    found = contexts_of_silos(champion, context, ("ash", "birch", "new"))
    # Nobody knows who took part in the job of another home. This home's job trained cedar only later.
    assert records_of(champion, (job, "films-elsewhere-1")) == (3, 1)
    assert all(each.earlier_records == (1,) * len(each.earlier_jobs) for each in found.values())
    assert {name: each.earlier_jobs for name, each in found.items()} == {
        "ash": (job, "films-elsewhere-1"),
        "birch": (job, "films-elsewhere-1"),
        "new": ("films-elsewhere-1",),
    }


def test_a_champion_of_other_dims_is_refused(champion):
    with pytest.raises(InvalidConfig, match=r"has 4 dims, but train\.dims is 8") as caught:
        model_of_champion(champion, "movies", 1, KNOWN, family_of(LightFMSpec(dims=8)), 7)
    assert caught.value.key == "train.dims"


def test_without_a_registry_there_is_no_champion_to_start_from(home, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(NotFound, match="registered"):
        model_of_champion(Home(home), "movies", 1, KNOWN, family_of(SPEC), 7)


def test_without_the_model_there_is_no_champion_to_start_from(mlflow_home):
    with pytest.raises(NotFound, match="has no version 1"):
        model_of_champion(mlflow_home, "movies", 1, KNOWN, family_of(SPEC), 7)
