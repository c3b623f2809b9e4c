"""A registry with a few small rounds, as the training flow leaves them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from models.federation.model import GlobalModel, ItemArrays
from models.kernel.catalog import ItemCatalog
from models.kernel.metric import Metric
from models.promotion.evidence import RoundEvaluation
from tasks.exchange.codec import encode_model
from tasks.local.home import Home
from tasks.messages.round_record import EvaluatedRound
from tasks.tracking import registry

ITEMS = pd.DataFrame(
    {
        "item_id": ["1", "50", "12", "100"],
        "title": ["Toy Story (1995)", "Star Wars (1977)", "Usual Suspects, The (1995)", "Fargo (1996)"],
    }
)
# SQL for the value of a copied version's tag.
_ROUND_TAG = "CASE key WHEN 'fedrec.round' THEN CAST(number AS TEXT) ELSE value END"
CATALOG = ItemCatalog.of(ITEMS["item_id"])
# Items 1 and 50 point one way, and items 12 and 100 the other.
EMBEDDINGS = np.array([[1, 0], [1, 0], [0, 1], [0, 1]], dtype=np.float32)


def model_of(round_: int, embeddings: np.ndarray = EMBEDDINGS) -> GlobalModel:
    """Return a model of the four items. The round sets its first bias, so that all rounds differ."""
    biases = np.zeros(4, dtype=np.float32)
    biases[0] = round_ / 1000
    items = ItemArrays(
        embeddings=np.array(embeddings, dtype=np.float32),
        biases=biases,
        embedding_accumulators=np.ones(4, dtype=np.float32),
        bias_accumulators=np.ones(4, dtype=np.float32),
    )
    return GlobalModel(round=round_, catalog_digest=CATALOG.digest, items=items)


def evaluation_of(ndcg: float, clients: Mapping[str, tuple[float, float]] | None = None) -> RoundEvaluation:
    """Return an evaluation whose NDCG@10 is `ndcg`. `clients` maps ids to (LOO HR@10, cases)."""
    parts = clients if clients is not None else {"alpha": (0.6, 120.0), "beta": (0.6, 80.0)}
    sums = {client: Metric(value * cases, cases) for client, (value, cases) in parts.items()}
    hits = sum(sums.values(), Metric(0.0, 0.0))
    return RoundEvaluation(
        split="validation",
        metrics={"ndcg@10": Metric(ndcg * hits.weight, hits.weight), "loo_hr@10": hits},
        clients={client: {"loo_hr@10": one} for client, one in sums.items()},
    )


@dataclass
class World:
    """A registry in a temporary home, and how to register rounds in it."""

    home: Home
    client: Any
    run_id: str
    artifacts: Path
    model_name: str = "movies"
    job_id: str = "job-a"
    folders: dict[int, Path] = field(default_factory=dict)

    def commit(
        self, round_: int, evaluation: RoundEvaluation | None, **changes: Any
    ) -> tuple[Path, EvaluatedRound]:
        """Return the artefact folder of a committed round and its record. `changes` replace parts of it."""
        data = encode_model(changes.pop("model", model_of(round_)))
        parts = {
            "job_id": self.job_id,
            "round": round_,
            "model_path": f"{self.job_id}/models/{round_}",
            "model_sha256": hashlib.sha256(data).hexdigest(),
            "model_bytes": len(data),
            "base_sha256": "b" * 64,
            "catalog_digest": CATALOG.digest,
            "data_digest": "d" * 64,
            "accepted": ("alpha", "beta"),
            "rejected": (),
            "contracts": {"interactions": "passed", "updates": "passed", "embeddings": "passed"},
            "training": {"loss": Metric(1.0, 4.0)},
            "evaluation": evaluation,
            "committed_at": "2026-11-20T10:00:00+00:00",
        }
        record = EvaluatedRound(**parts | changes)
        folder = self.artifacts / "rounds" / f"{round_:04d}"
        folder.mkdir(parents=True)
        (folder / "model.safetensors").write_bytes(data)
        (folder / "round.json").write_text(json.dumps(record.to_json()))
        return folder, record

    def register(self, round_: int, evaluation: RoundEvaluation | None, **changes: Any) -> int:
        """Commit a round and register it. Return its version."""
        folder, record = self.commit(round_, evaluation, **changes)
        version = registry.register_round(self.client, self.model_name, self.run_id, str(folder), record)
        self.folders[version] = folder
        return version

    def copy_newest(self, count: int) -> None:
        """Add `count` versions like the newest one, of later rounds, quickly by SQL."""
        database = sqlite3.connect(self.home.mlflow / "mlflow.db")
        with contextlib.closing(database), database:
            (newest,) = database.execute("SELECT max(version) FROM model_versions").fetchone()
            database.execute("CREATE TEMP TABLE numbers (number INTEGER)")
            numbers = ((newest + place,) for place in range(1, count + 1))
            database.executemany("INSERT INTO numbers VALUES (?)", numbers)
            for table, changed in (
                ("model_versions", {"version": "number"}),
                ("model_version_tags", {"version": "number", "value": _ROUND_TAG}),
            ):
                _insert_copies(database, table, changed, f"numbers WHERE version = {newest}")

    def copy_model(self, names: list[str]) -> None:
        """Add registered models of these names, without versions, quickly by SQL."""
        database = sqlite3.connect(self.home.mlflow / "mlflow.db")
        with contextlib.closing(database), database:
            database.execute("CREATE TEMP TABLE names (other TEXT)")
            database.executemany("INSERT INTO names VALUES (?)", [(name,) for name in names])
            for table in ("registered_models", "registered_model_tags"):
                _insert_copies(database, table, {"name": "other"}, f"names WHERE name = '{self.model_name}'")

    def beside(self, model_name: str, items: pd.DataFrame = ITEMS) -> World:
        """Return a world in the same home with another model, made by a run with this catalogue."""
        made_by = self.client.get_run(self.run_id).info
        return _of_new_run(self.home, self.client, made_by.experiment_id, model_name, items)

    def aliases(self) -> dict[str, int]:
        return registry.aliases(self.client, self.model_name)


def _insert_copies(database: sqlite3.Connection, table: str, changed: Mapping[str, str], others: str) -> None:
    """Copy rows of a table for each row of `others`, with expressions for the `changed` columns."""
    columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    values = ", ".join(changed.get(column, column) for column in columns)
    database.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table}, {others}"  # noqa: S608
    )


def open_world(home: Home) -> World:
    client = registry.client(home)
    experiment = client.create_experiment("movies", artifact_location=str(home.mlflow / "artifacts"))
    return _of_new_run(home, client, experiment, "movies", ITEMS)


def _of_new_run(home: Home, client: Any, experiment: str, model_name: str, items: pd.DataFrame) -> World:
    run = client.create_run(experiment)
    artifacts = Path(run.info.artifact_uri)
    (artifacts / "catalog").mkdir(parents=True)
    items.to_parquet(artifacts / "catalog" / "items.parquet")
    registry.ensure_registered_model(client, model_name)
    return World(home, client, run.info.run_id, artifacts, model_name)


@pytest.fixture
def world(mlflow_home: Home) -> World:
    """Return a registered model without versions, in the test's home."""
    return open_world(mlflow_home)


@pytest.fixture
def evaluated() -> Callable[..., RoundEvaluation]:
    """Return a function that makes evaluations: see `evaluation_of`."""
    return evaluation_of
