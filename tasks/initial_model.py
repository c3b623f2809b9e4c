"""The model that a job starts from: round 0."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from models.errors import InvalidConfig
from models.federation.catalog import ItemCatalog
from models.federation.model import GlobalModel, ItemArrays
from models.federation.rounds import TrainSpec
from models.federation.warm_start import carry_over
from models.recommenders.families import Family
from models.recommenders.lightfm_training import initial_items
from tasks.codec import encode_model
from tasks.home import Home
from tasks.journal import Journal
from tasks.registry import CHAMPION, load_version, open_registry, resolve_model_name


@dataclass(frozen=True)
class InitialModel:
    """A round-0 model and the user embeddings that belong to it.

    Attributes:
        data: the model's bytes.
        starting_points: {client id: {job_id, round}} of user embeddings made together with this model; empty
            for a fresh one.
    """

    data: bytes
    starting_points: dict[str, dict[str, Any]]

    @property
    def sha256(self) -> str:
        """Of the model's bytes."""
        return hashlib.sha256(self.data).hexdigest()


def fresh_model(catalog: ItemCatalog, family: Family, seed: int) -> InitialModel:
    """The model that the family starts from."""
    items = family.initial(len(catalog), seed)
    return InitialModel(encode_model(GlobalModel(0, catalog.digest, items)), {})


def model_of_champion(
    home: Home, model_name: str, catalog: ItemCatalog, spec: TrainSpec, seed: int
) -> InitialModel:
    """The champion, carried over to this catalogue, with the user embeddings of the job that made it.

    Raises:
        NotFound: there is no champion.
        InvalidConfig: it has other dimensions than the job.
    """
    registry = open_registry(home)
    champion = load_version(registry, resolve_model_name(registry, model_name), CHAMPION)
    known = champion.model()
    if not isinstance(known.items, ItemArrays):
        raise InvalidConfig(
            "The champion was not trained by LightFM, and nothing but that can be gone on from.",
            next_step="Set start_from: fresh.",
            key="start_from",
        )
    if known.items.shape[1] != spec.dims:
        raise InvalidConfig(
            f"The champion has {known.items.shape[1]} dims, but train.dims is {spec.dims}.",
            next_step="Set train.dims alike, or start_from: fresh.",
            key="train.dims",
        )
    model = carry_over(
        known.items,
        ItemCatalog.of(champion.items["item_id"]),
        initial_items(len(catalog), spec.dims, seed),
        catalog,
    )
    return InitialModel(encode_model(model), _starting_points(home, champion.manifest))


def _starting_points(home: Home, manifest: dict[str, Any]) -> dict[str, dict[str, Any]]:
    journal = Journal(home.jobs / manifest["job_id"])
    points: dict[str, dict[str, Any]] = {}
    for committed in journal.committed()[: manifest["round"] + 1]:
        for client_id in committed["accepted"]:
            points[client_id] = {"job_id": journal.job_id, "round": committed["round"]}
    return points
