"""Orders from the coordinator to a client, as plain values that travel through Prefect."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from models.federation.postprocessors import Postprocessor
from models.recommenders.base.family import Family, FamilySpec
from models.recommenders.families.registry import family_of
from tasks.exchange.store import ArtifactRef, Exchange


@dataclass(frozen=True)
class JobContext:
    """The part of an order that is the same for all clients of a job.

    Attributes:
        job_id: which job.
        seed: the job's seed, for training.
        spec: how to train.
        exchange_url: where models come from and updates go to.
        data_dir, data_digest: the partition that holds the client's data.
        silos_dir: parent of the clients' private folders.
        evaluation_seed, negatives: of the held-out cases' sampled negatives; the same in all jobs on the same
            data, so that their figures can be compared.
        cohort: number of clients that each round selects.
        postprocessors: what happens to contributions, in the order of the clients.
    """

    job_id: str
    seed: int
    spec: FamilySpec
    exchange_url: str
    data_dir: str
    data_digest: str
    silos_dir: str
    evaluation_seed: int
    negatives: int
    cohort: int = 1
    postprocessors: tuple[Postprocessor, ...] = ()

    @property
    def family(self) -> Family:
        """Return the family that clients train."""
        return family_of(self.spec)

    @property
    def exchange(self) -> Exchange:
        """Return the exchange that models and updates travel through."""
        return Exchange(self.exchange_url)


@dataclass(frozen=True)
class StartingPoint:
    """The user embeddings that a client starts from.

    Attributes:
        job_id: the job that made them; None for a client that never trained, whose users start at random.
        round: the last round of that job in which the client was accepted.
        exact: whether no other round will do. A job goes on from exactly the state it committed; one that
            starts from an earlier job's model takes what is left of that job, because a client keeps the
            newest states only.
    """

    job_id: str | None
    round: int
    exact: bool = True


@dataclass(frozen=True)
class ClientOrder:
    """One client's part of one round.

    Attributes:
        job: the same for all clients.
        client_id: whose order it is.
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
        """Return the client's private folder."""
        return Path(self.job.silos_dir) / self.client_id
