"""What the coordinator asks of a client, as plain values that travel through Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from models.federation.merge import MergeRuleName
from models.federation.model import GlobalModel
from models.recommenders.families.families import family_of
from models.recommenders.families.family import Family
from models.recommenders.families.specs import FamilySpec
from models.recommenders.lightfm.training import UserArrays
from tasks.clients.client_data import SiloData, StartingPoint, load_silo, starting_users
from tasks.exchange.codec import decode_model
from tasks.exchange.store import ArtifactRef, Exchange


@dataclass(frozen=True)
class JobContext:
    """What all clients of a job are told alike.

    Attributes:
        job_id: which job.
        seed: the job's seed, for training.
        spec: how to train.
        merge_rule: whose client half prepares an update of LightFM's.
        exchange_url: where models come from and updates go to.
        data_dir, data_digest: the partition that holds the client's data.
        silos_dir: parent of the clients' private folders.
        evaluation_seed, negatives: of the held-out cases' sampled negatives; alike for all jobs on the same
            data, so that their figures can be compared.
    """

    job_id: str
    seed: int
    spec: FamilySpec
    merge_rule: MergeRuleName
    exchange_url: str
    data_dir: str
    data_digest: str
    silos_dir: str
    evaluation_seed: int
    negatives: int

    @property
    def family(self) -> Family:
        """The client half of how to train."""
        return family_of(self.spec, self.merge_rule)

    @property
    def exchange(self) -> Exchange:
        """The exchange that models and updates travel through."""
        return Exchange(self.exchange_url)


@dataclass(frozen=True)
class ClientOrder:
    """One client's part of one round.

    Attributes:
        job: what all clients are told.
        client_id: who is asked.
        round: of the model that the round makes (training) or has made (evaluation).
        base: the global model to start from, or to evaluate.
        start: the user embeddings to go with it.
    """

    job: JobContext
    client_id: str
    round: int
    base: ArtifactRef
    start: StartingPoint

    @property
    def silo(self) -> Path:
        """The client's private folder."""
        return Path(self.job.silos_dir) / self.client_id

    def data(self) -> SiloData:
        """The client's data."""
        job = self.job
        return load_silo(job.data_dir, job.data_digest, self.client_id, job.evaluation_seed, job.negatives)

    def users(self, data: SiloData) -> UserArrays:
        """The client's user arrays to start from.

        Raises:
            CorruptArtifact: the state is missing or damaged.
        """
        dims = self.model().items.shape[1]
        return starting_users(
            self.silo, self.start, data, dims=dims, seed=self.job.seed, client_id=self.client_id
        )

    def model(self) -> GlobalModel:
        """The global model, verified."""
        return fetch_model(self.job.exchange_url, self.base)


# All clients of a round on one machine start from one model; a merge adds the next one.
@lru_cache(maxsize=4)
def fetch_model(exchange_url: str, ref: ArtifactRef) -> GlobalModel:
    """The model that `ref` names.

    Raises:
        CorruptArtifact: its bytes are missing, changed, or no model.
    """
    return decode_model(Exchange(exchange_url).get(ref), f"The model {ref.path}")
