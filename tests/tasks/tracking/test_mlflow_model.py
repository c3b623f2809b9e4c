"""A registered round as an MLflow model: `load_model` and `mlflow models serve` answer as fedrec does."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from models.federation.model import GlobalModel, ItemArrays
from models.kernel.catalog import ItemCatalog
from tasks.exchange.codec import decode, encode, encode_model
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry
from tasks.tracking.mlflow_model import model_files
from tasks.tracking.run_tracker import Tracker
from tests.servers.server_process import ServerProcess

N = 300
IDS = [f"id-{row}" for row in range(N)]
# Items without a title are named by their ids.
TITLES = [None if row % 7 == 0 else f"Film {row}" for row in range(N)]
GENRES = [[genre for genre in ("Comedy", "Drama", "War") if (row + len(genre)) % 3] for row in range(N)]
ITEMS = pd.DataFrame(
    {"item_id": IDS, "title": TITLES, "genres": GENRES, "year": [1930.0 + row % 70 for row in range(N)]}
)


def random_model() -> GlobalModel:
    rng = np.random.default_rng(4)
    # No client trained on every fifth item: their features place them.
    accumulators = np.where(np.arange(N) % 5 == 0, 1.0, 2.0).astype(np.float32)
    items = ItemArrays(
        embeddings=rng.normal(size=(N, 8)).astype(np.float32),
        biases=rng.normal(size=N).astype(np.float32),
        embedding_accumulators=accumulators,
        bias_accumulators=accumulators,
    )
    return GlobalModel(round=1, catalog_digest=ItemCatalog.of(ITEMS["item_id"]).digest, items=items)


@pytest.fixture
def registered(world: Any) -> Any:
    """Return a world whose version 1 is a round as the training flow tracks it."""
    return with_version(world, encode_model(random_model()))


def with_version(world: Any, data: bytes) -> Any:
    """Return the world with this model as version 1."""
    model = random_model()
    _, record = world.commit(1, None, model=model, catalog_digest=model.catalog_digest)
    record = replace(record, model_sha256=hashlib.sha256(data).hexdigest(), model_bytes=len(data))
    ITEMS.to_parquet(world.artifacts / "catalog" / "items.parquet")
    tracker = Tracker(world.client, world.run_id, world.model_name)
    tracker.log_round(record, data, {}, resumed=False, beside=model_files(ITEMS))
    return world


def queries() -> list[dict[str, Any]]:
    """Return random histories of 0 to 30 items, some with weights and some with exclusions."""
    rng = np.random.default_rng(9)
    found = []
    for number in range(40):
        drawn = rng.choice(N, size=number, replace=False)
        history = [IDS[row] for row in drawn[: number * 3 // 4]]
        weights = rng.uniform(0.1, 4.0, size=len(history)).tolist() if number % 2 else []
        found.append(
            {"history": history, "weights": weights, "exclude": [IDS[row] for row in drawn[len(history) :]]}
        )
    return found


def expected(world: Any, query: dict[str, Any], k: int) -> list[Any]:
    recommender = recommender_of(registry.load_version(world.client, world.model_name, 1))
    rows = [IDS.index(item_id) for item_id in query["history"]]
    excluded = [IDS.index(item_id) for item_id in query["exclude"]]
    return recommender.recommend(rows, k, excluded, weights=query["weights"] or None)


def assert_alike(found: dict[str, Any], answer: list[Any]) -> None:
    assert found["item_ids"] == [one.item_id for one in answer]
    assert found["titles"] == [one.title for one in answer]
    assert found["scores"] == pytest.approx([one.score for one in answer], abs=1e-5)


@pytest.mark.parametrize("k", [1, 10, N])
def test_load_model_answers_as_fedrec_does(registered, k):
    model = mlflow.pyfunc.load_model(f"models:/{registered.model_name}/1")
    wanted = queries()

    found = model.predict(pd.DataFrame(wanted), params={"k": k}).to_dict("records")

    assert len(found) == len(wanted)
    for answer, query in zip(found, wanted, strict=True):
        assert_alike(answer, expected(registered, query, k))


def test_a_version_with_an_accumulator_for_each_dimension_answers_as_one_with_their_mean(world):
    """Versions were stored in this way before all dimensions of an embedding shared one accumulator."""
    arrays, facts = decode(encode_model(random_model()), "")
    arrays["embedding_accumulators"] = np.repeat(arrays["embedding_accumulators"][:, np.newaxis], 8, axis=1)
    with_version(world, encode(arrays, facts))
    found = mlflow.pyfunc.load_model(f"models:/{world.model_name}/1").predict(pd.DataFrame(queries()))
    for answer, query in zip(found.to_dict("records"), queries(), strict=True):
        assert_alike(answer, expected(world, query, 10))


def test_weights_and_exclusions_are_optional_and_a_repeated_item_counts_twice(registered):
    model = mlflow.pyfunc.load_model(f"models:/{registered.model_name}/1")

    found = model.predict(pd.DataFrame({"history": [["id-3", "id-5", "id-3"]]}))

    query = {"history": ["id-3", "id-5"], "weights": [2.0, 1.0], "exclude": []}
    assert_alike(found.to_dict("records")[0], expected(registered, query, 10))


@pytest.mark.parametrize(
    ("query", "k", "complaint"),
    [
        ({"history": ["nothing"]}, 3, "has no item 'nothing'"),
        ({"history": ["id-1"], "exclude": ["nothing"]}, 3, "has no item 'nothing'"),
        ({"history": ["id-1"], "weights": [-1.0]}, 3, "must be positive"),
        ({"history": ["id-1"], "weights": [float("nan")]}, 3, "must be positive"),
        ({"history": ["id-1"], "weights": [1.0, 2.0]}, 3, "1 items has 2 weights"),
        ({"history": ["id-1"]}, 0, "at least 1, got 0"),
    ],
)
def test_impossible_requests_are_refused(registered, query, k, complaint):
    model = mlflow.pyfunc.load_model(f"models:/{registered.model_name}/1")

    with pytest.raises(ValueError, match=complaint):
        model.predict(pd.DataFrame([query]), params={"k": k})


def test_a_damaged_model_is_not_loaded(registered):
    file = registered.artifacts / "rounds" / "0001" / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    with pytest.raises(ValueError, match=r"round\.json says"):
        mlflow.pyfunc.load_model(f"models:/{registered.model_name}/1")


def test_a_version_holds_no_pickle_and_its_code_imports_nothing_of_fedrec(registered):
    folder = registered.artifacts / "rounds" / "0001"
    assert sorted(path.name for path in folder.iterdir()) == [
        "MLmodel",
        "items.parquet",
        "mlflow_scorer.py",
        "model.safetensors",
        "python_env.yaml",
        "requirements.txt",
        "round.json",
    ]
    # The code runs in a folder and a mode in which Python finds no package of fedrec.
    script = (
        "import sys, mlflow, pandas as pd\n"
        f"model = mlflow.pyfunc.load_model({str(folder)!r})\n"
        "answer = model.predict(pd.DataFrame({'history': [['id-1']]}))\n"
        "ours = {'models', 'tasks', 'flows', 'serving', 'data_contracts'} & set(sys.modules)\n"
        "assert not ours, ours\n"
        "assert len(answer['item_ids'][0]) == 10\n"
    )
    environ = os.environ | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@dataclass
class ScoringServer(ServerProcess):
    """`mlflow models serve` over one version."""

    model_uri: str = ""

    health = "/ping"

    @property
    def command(self) -> list[str]:
        program = str(Path(sys.executable).with_name("mlflow"))
        address = ("--host", "127.0.0.1", "--port", str(self.port))
        return [program, "models", "serve", "--env-manager", "local", "-m", self.model_uri, *address]

    @property
    def environment(self) -> dict[str, str]:
        # It starts its server by the name of the program.
        return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}


@pytest.fixture
def scorer(registered: Any, tmp_path: Path) -> Iterator[str]:
    """Return the URL that `mlflow models serve` answers at, with version 1."""
    server = ScoringServer(tmp_path, model_uri=f"models:/{registered.model_name}/1")
    try:
        server.start()
        yield f"{server.url}/invocations"
    finally:
        server.stop()


def post(url: str, value: dict[str, Any]) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - our own address
        url, json.dumps(value).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310
        return dict(json.load(reply))


def test_mlflow_models_serve_answers_as_fedrec_does(registered, scorer):
    wanted = [query for query in queries() if query["weights"]][:5]

    found = post(scorer, {"dataframe_records": wanted, "params": {"k": 4}})["predictions"]

    for answer, query in zip(found, wanted, strict=True):
        assert_alike(answer, expected(registered, query, 4))
    with pytest.raises(urllib.error.HTTPError) as refused:
        post(scorer, {"dataframe_records": [{"history": ["nothing"]}]})
    assert "has no item" in refused.value.read().decode()
