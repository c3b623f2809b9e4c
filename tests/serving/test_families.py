"""Every family is served by the same process, with the answers that `fedrec recommend` gives."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from models.errors import CorruptArtifact
from models.federation.contribution import Contribution
from models.federation.model import ClientUpdate, GlobalModel, ItemModel
from models.kernel.catalog import ItemCatalog
from models.kernel.histories import Histories
from models.recommenders.additive.blend import BlendSpec
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.additive.next_item import NextItemSpec
from models.recommenders.base.family import FamilySpec, LocalRound
from models.recommenders.base.ratings import RatedData, Ratings
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.families.registry import family_of
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_users
from models.recommenders.private.spec import DpItemsSpec
from models.recommenders.rating.spec import RatingSpec
from models.recommenders.scoring.rating_scorer import RatingScorer
from models.recommenders.scoring.recommender import Recommender
from tasks.bundles.bundle import open_bundle
from tasks.bundles.serving_folder import serving_folder
from tasks.exchange.codec import encode_model
from tasks.publishing.publish import publish
from tasks.scoring.recommend import answer, recommender_of
from tasks.scoring.score_file import score_users
from tasks.tracking import registry
from tasks.tracking.mlflow_model import FAMILIES, model_files
from tasks.tracking.run_tracker import Tracker
from tests.servers.free_port import free_port
from tests.serving.test_hot_swap import Load, decide
from tests.worlds.registered import World
from tests.worlds.served import Server, running, serving

USERS, N = 80, 60
IDS = [f"{row + 1}" for row in range(N)]
GENRES = [[genre for genre in ("Comedy", "Drama", "War") if (row + len(genre)) % 3] for row in range(N)]
ITEMS = pd.DataFrame({"item_id": IDS, "title": [f"Film {row} (1990)" for row in range(N)], "genres": GENRES})
# No user used these: their features place them.
COLD = [13, 27, 41]
CATALOG = ItemCatalog.of(ITEMS["item_id"])
SPECS: dict[str, FamilySpec] = {
    "lightfm": LightFMSpec(dims=4),
    "ials": IalsSpec(dims=4, regularisation=0.05),
    "ease": EaseSpec(regularisation=5.0),
    "next_item": NextItemSpec(regularisation=5.0),
    "blend": BlendSpec(regularisation=5.0, lasting_regularisation=5.0),
    "dp_items": DpItemsSpec(regularisation=0.5),
    "bayesian_mf": RatingSpec(dims=2, directions=4, direction_rounds=1, burn_in=2, thinning=1, draws=3),
}
VERSIONS = {name: number + 1 for number, name in enumerate(SPECS)}
# As ids, oldest first: the order matters to families that remember it.
QUESTIONS = [["5"], ["7", "3", "20", "11"], ["11", "20", "3", "7"], [str(n) for n in range(1, 31)]]
assert set(SPECS) == FAMILIES, "every family is tested through MLflow"
every_family = pytest.mark.parametrize("family", SPECS)


@dataclass(frozen=True)
class Data:
    """What the families learn from."""

    training: TrainingSet
    histories: Histories
    rated: RatedData


def interactions() -> Data:
    """Return 5 to 15 items of each user, near one another, in a random order."""
    random = np.random.default_rng(6)
    users, items, places, values = [], [], [], []
    for user in range(USERS):
        near = (random.integers(N) + random.permutation(18)[: random.integers(5, 16)]) % N
        near = near[~np.isin(near, COLD)]
        users += [user] * len(near)
        items += near.tolist()
        places += range(len(near))
        values += (1 + (near + user) % 5).tolist()
    rows = [np.array(each, dtype=np.int32) for each in (users, items, places)]
    ratings = Ratings.of(rows[0], rows[1], np.array(values, dtype=np.float64), (USERS, N))
    return Data(
        TrainingSet(rows[0], rows[1], (USERS, N)),
        Histories.of(*rows, (USERS, N)),
        RatedData(ratings, tuple(str(user) for user in range(USERS))),
    )


def trained(spec: FamilySpec, rounds: int = 6) -> ItemModel:
    """Return a model of this family after a few rounds of one client."""
    family, data = family_of(spec), interactions()
    items = family.initial(N, seed=1)
    users = initial_users(USERS, 4, 1, "a") if family.keeps_users else None
    for round_ in range(1, rounds + 1):
        base = GlobalModel(round_ - 1, CATALOG.digest, items)
        part, users = family.train(items, users, data, LocalRound("a", round_, 1))
        rule = family.rule(seed=1)
        update = ClientUpdate("a", round_ - 1, "base", CATALOG.digest, Contribution(part))
        items = rule.finish(rule.add(rule.empty(base), base, update), base).items
    return items


@pytest.fixture(scope="module")
def models() -> dict[str, ItemModel]:
    return {name: trained(spec) for name, spec in SPECS.items()}


@pytest.fixture
def families(world: World, evaluated: Any, models: dict[str, ItemModel]) -> World:
    """Return a registry with one version of each family, tracked as the training flow does."""
    ITEMS.to_parquet(world.artifacts / "catalog" / "items.parquet")
    tracker = Tracker(world.client, world.run_id, world.model_name)
    files = model_files(ITEMS)
    for name, version in VERSIONS.items():
        model = GlobalModel(version, CATALOG.digest, models[name])
        _, record = world.commit(version, evaluated(0.3), model=model, catalog_digest=CATALOG.digest)
        tracker.log_round(record, encode_model(model), {}, resumed=False, beside=files)
    return world


def recommended(world: World, version: int, history: list[str], k: int = 5) -> list[tuple[str, Any]]:
    """Return what `fedrec recommend` answers."""
    reply = answer(world.home, ",".join(history), k, model_name="movies", version=str(version))
    return [(one["item_id"], pytest.approx(one["score"], rel=1e-5)) for one in reply["recommendations"]]


def served(server: Server, history: list[str], k: int = 5) -> tuple[int, list[tuple[str, float]]]:
    """Return the version and the recommendations that the service answers."""
    reply = server.recommend(history=[{"item_id": item_id} for item_id in history], k=k)
    return reply["model"]["version"], [(one["item_id"], one["score"]) for one in reply["recommendations"]]


@pytest.mark.timeout(280)
def test_families_replace_each_other_under_load_and_answer_as_recommend_does(families, tmp_path):
    decide(families, "promotion", VERSIONS["lightfm"])
    port = free_port()
    command = ["-m", "flows", "serve", "--port", str(port), "--rate", "0", "--quiet"]
    environ = {"FEDREC_HOME": str(families.home.root)}
    with running(command, port, tmp_path / "log", environ) as server:
        server.wait_until(server.is_ready)
        load = Load(port)
        client = threading.Thread(target=load.run)
        client.start()
        for name in ["blend", "lightfm", "bayesian_mf", "ials", "blend", "ease", "dp_items", "next_item"]:
            version = VERSIONS[name]
            decide(families, "promotion", version)
            assert server.ask("POST", "/v1/refresh")[0] == 202
            server.wait_until(lambda version=version: server.get("/v1/model")["version"] == version)
            for history in QUESTIONS:
                assert served(server, history) == (version, recommended(families, version, history))
            like = server.get("/v1/items/7/similar?k=3")["items"]
            model = recommender_of(registry.load_version(families.client, "movies", version))
            assert [(one["item_id"], pytest.approx(one["similarity"], abs=1e-5)) for one in like] == [
                (one.item_id, one.similarity) for one in model.similar(IDS.index("7"), 3)
            ]
            assert server.recommend(k=1)["recommendations"]  # popular items, without a history
            reasons = server.recommend(history=[{"item_id": "7"}, {"item_id": "8"}], k=1)
            shares = [one["share"] for one in reasons["recommendations"][0]["reasons"]]
            assert sum(shares) == pytest.approx(1.0)
        load.stop.set()
        client.join()
        assert server.metric('fedrec_serving_swaps_total{result="refused"}') == 0

    assert load.failures == []
    wanted = {version: recommended(families, version, ["50"], 3) for version in VERSIONS.values()}
    seen = {reply["model"]["version"] for reply in load.replies}
    assert seen == set(VERSIONS.values())
    for reply in load.replies:
        version = reply["model"]["version"]
        found = [(one["item_id"], one["score"]) for one in reply["recommendations"]]
        assert found == wanted[version]


@every_family
def test_a_bundle_answers_as_its_model(families, family):
    version = VERSIONS[family]
    decide(families, "promotion", version)
    target = publish(families.home, families.client, "movies").champion

    bundle = open_bundle(serving_folder(families.home, "movies") / target.bundle, target.manifest_sha256)
    model = recommender_of(registry.load_version(families.client, "movies", version))

    assert type(bundle.recommender.scorer) is type(model.scorer)
    for history in QUESTIONS:
        rows = [IDS.index(item_id) for item_id in history]
        weights = [1.0 + place for place in range(len(rows))]
        assert plain(bundle.recommender, rows, weights) == plain(model, rows, weights)
    assert bundle.recommender.similar(4, 5) == model.similar(4, 5)


def plain(recommender: Recommender, rows: list[int], weights: list[float]) -> Any:
    return recommender.recommend(rows, 7, weights=weights, reasons=2, diversity=0.3)


@every_family
def test_no_byte_of_a_bundle_is_an_object_that_needs_pickle(families, family):
    decide(families, "promotion", VERSIONS[family])
    target = publish(families.home, families.client, "movies").champion

    folder = serving_folder(families.home, "movies") / target.bundle
    arrays = [np.load(path, allow_pickle=False) for path in folder.glob("*.npy")]
    assert len(arrays) > 5
    assert {path.suffix for path in folder.iterdir()} <= {".npy", ".json"}


@every_family
def test_a_changed_array_of_any_family_is_refused(families, family):
    decide(families, "promotion", VERSIONS[family])
    target = publish(families.home, families.client, "movies").champion
    arrays = (serving_folder(families.home, "movies") / target.bundle).glob("*.npy")
    path = max(arrays, key=lambda each: each.stat().st_size)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

    with pytest.raises(CorruptArtifact, match=r"\.npy has SHA-256"):
        open_bundle(path.parent, target.manifest_sha256)


@every_family
def test_mlflow_answers_as_recommend_does(families, family):
    version = VERSIONS[family]
    model = mlflow.pyfunc.load_model(f"models:/movies/{version}")

    given = model.predict(pd.DataFrame({"history": QUESTIONS}), params={"k": 5}).to_dict("records")

    for one, history in zip(given, QUESTIONS, strict=True):
        assert list(zip(one["item_ids"], one["scores"], strict=True)) == recommended(
            families, version, history
        )
    (popular,) = model.predict(pd.DataFrame({"history": [[]]}), params={"k": 5}).to_dict("records")
    recommender = recommender_of(registry.load_version(families.client, "movies", version))
    assert popular["item_ids"] == [one.item_id for one in recommender.recommend([], 5)]


@every_family
def test_scoring_a_file_answers_as_recommend_does_whatever_the_order_of_its_rows(families, family, tmp_path):
    version = VERSIONS[family]
    users = tmp_path / "users.csv"
    rows = [("ann", item_id, 1_000 + place) for place, item_id in enumerate(QUESTIONS[1])]
    rows += [("bob", item_id, 1_000 - place) for place, item_id in enumerate(QUESTIONS[1])]
    table = pd.DataFrame(rows, columns=["user_id", "item_id", "timestamp"])
    table.sample(frac=1.0, random_state=1).to_csv(users, index=False)

    out = tmp_path / "scored.parquet"
    score_users(families.home, users, out, 5, model_name="movies", version=str(version))

    scored = pd.read_parquet(out)
    for user_id, history in (("ann", QUESTIONS[1]), ("bob", QUESTIONS[2])):
        own = scored[scored["user_id"] == user_id].sort_values("rank")
        found = list(zip(own["item_id"], own["score"].astype(float), strict=True))
        assert found == recommended(families, version, history)


def test_ratings_are_predicted_with_their_uncertainty(families, tmp_path):
    publish_version(families, VERSIONS["bayesian_mf"])
    model = recommender_of(registry.load_version(families.client, "movies", VERSIONS["bayesian_mf"]))
    assert isinstance(model.scorer, RatingScorer)
    given, wanted = {"7": 5.0, "8": 1.0, "20": 3.0}, ["9", "1", "60"]
    rows = [IDS.index(item_id) for item_id in given]
    expected = model.scorer.ratings(rows, list(given.values()), [IDS.index(item_id) for item_id in wanted])
    history = [{"item_id": item_id, "rating": rating} for item_id, rating in given.items()]
    with serving(serving_folder(families.home, "movies"), tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        status, reply, _ = server.ask("POST", "/v1/ratings", {"history": history, "items": wanted})
        assert status == 200, reply
        assert reply["model"]["version"] == VERSIONS["bayesian_mf"]
        assert [one["item_id"] for one in reply["ratings"]] == wanted
        assert reply["ratings"][0]["title"] == "Film 8 (1990)"
        for name, values in (
            ("rating", expected.means),
            ("deviation", expected.deviations),
            ("spread", expected.spreads),
        ):
            assert [one[name] for one in reply["ratings"]] == pytest.approx(values.tolist())
        for one in reply["ratings"]:
            assert 1.0 <= one["low"] < one["rating"] < one["high"] <= 5.0
        nobody = server.ask("POST", "/v1/ratings", {"items": wanted})[1]["ratings"]
        usual = model.scorer.ratings([], [], [IDS.index(item_id) for item_id in wanted]).means
        assert [one["rating"] for one in nobody] == pytest.approx(usual.tolist())
        # Of a history and items that the version knows only in part, the rest is answered.
        odd = {"history": [{"item_id": "x", "rating": 9}, *history], "items": ["0", *wanted, "x"]}
        status, partly, _ = server.ask("POST", "/v1/ratings", odd)
        assert (status, partly["unknown"], partly["ratings"]) == (200, ["x", "0"], reply["ratings"])
        status, empty, _ = server.ask("POST", "/v1/ratings", {"items": ["0"]})
        assert (status, empty["unknown"], empty["ratings"]) == (200, ["0"], [])
        for body, status, kind in (
            ({"history": [{"item_id": "7", "rating": 6}], "items": ["1"]}, 422, "invalid-request"),
            ({"history": history + history, "items": ["1"]}, 422, "invalid-request"),
            ({"history": history, "items": []}, 422, "invalid-request"),
        ):
            found = server.ask("POST", "/v1/ratings", body)
            assert (found[0], found[1]["type"]) == (status, f"urn:fedrec:problem:{kind}"), found[1]


def test_a_version_that_predicts_no_ratings_says_so(families, tmp_path):
    publish_version(families, VERSIONS["ease"])
    with serving(serving_folder(families.home, "movies"), tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        status, problem, _ = server.ask("POST", "/v1/ratings", {"items": ["1"]})
    assert (status, problem["type"]) == (409, "urn:fedrec:problem:no-ratings")
    assert "bayesian_mf" in problem["detail"]


def publish_version(world: World, version: int) -> None:
    decide(world, "promotion", version)
    publish(world.home, world.client, "movies")
