"""The model that a job starts from: round 0."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from models.errors import InvalidConfig
from models.federation.model import GlobalModel
from models.federation.warm_start import carry_over
from models.kernel.catalog import ItemCatalog
from models.recommenders.base.family import Family
from tasks.coordinator.lineage import training_before
from tasks.exchange.codec import encode_model
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tasks.messages.earlier_training import EarlierTraining
from tasks.messages.job_opening import EarlierState
from tasks.messages.round_record import RoundRecord
from tasks.tracking.registry import load_version, open_registry


@dataclass(frozen=True)
class InitialModel:
    """A round-0 model and the user embeddings that belong to it.

    Attributes:
        data: the model's bytes.
        starting_points: client id -> the user embeddings that were trained with this model. Empty for a fresh
            model.
        earlier: the training that the model has had in earlier jobs; None for a fresh model.
    """

    data: bytes
    starting_points: dict[str, EarlierState]
    earlier: EarlierTraining | None = None

    @property
    def sha256(self) -> str:
        """Return the SHA-256 of the model's bytes."""
        return hashlib.sha256(self.data).hexdigest()


def fresh_model(catalog: ItemCatalog, family: Family, seed: int) -> InitialModel:
    """Return the model that the family starts from."""
    items = family.initial(len(catalog), seed)
    return InitialModel(encode_model(GlobalModel(0, catalog.digest, items)), {})


def model_of_champion(
    home: Home, model_name: str, version: int | str, catalog: ItemCatalog, family: Family, seed: int
) -> InitialModel:
    """Return the champion, mapped to this catalogue, with the user embeddings of the job that trained it.

    Args:
        home: contains the registry and the jobs.
        model_name, version: the registered model and its champion.
        catalog: the catalogue of the job that starts.
        family, seed: what that job trains.

    Raises:
        NotFound: there is no such version.
        InvalidConfig: the champion is from another family, or its dimensions differ from the job's.
    """
    registry = open_registry(home)
    champion = load_version(registry, model_name, version)
    known, fresh = champion.model().items, family.initial(len(catalog), seed)
    if type(known) is not type(fresh):
        raise InvalidConfig(
            f"The champion, version {champion.version}, holds {type(known).__name__}, but train.family makes "
            f"{type(fresh).__name__}, the model of another family.",
            next_step="Set train.family to the champion's, or start_from: fresh.",
            key="train.family",
        )
    if known.shape[1] != fresh.shape[1]:
        raise InvalidConfig(
            f"The champion has {known.shape[1]} dims, but train.dims is {fresh.shape[1]}.",
            next_step=f"Set train.dims to {known.shape[1]}, or start_from: fresh.",
            key="train.dims",
        )
    model = carry_over(known, ItemCatalog.of(champion.items["item_id"]), fresh, catalog)
    points = _starting_points(home, champion.record) if family.keeps_users else {}
    return InitialModel(encode_model(model), points, training_before(home, registry, model_name, champion))


def _starting_points(home: Home, record: RoundRecord) -> dict[str, EarlierState]:
    journal = Journal(home.jobs / record.job_id)
    return {
        client_id: EarlierState(committed.job_id, committed.round)
        for committed in journal.committed()[: record.round + 1]
        for client_id in committed.accepted
    }
