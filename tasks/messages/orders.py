"""Orders from the coordinator to a client, as plain values that travel through Prefect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from data_contracts.updates import UpdateLimits
from models.federation.postprocessors import Postprocessor
from models.kernel.ranges import Range
from models.privacy.noise_plan import NoisePlan
from models.recommenders.base.family import Family, FamilySpec
from models.recommenders.families.registry import family_of
from tasks.exchange.store import ArtifactRef, Exchange, open_exchange
from tasks.messages.sum_orders import SumOrder, answer_kind


@dataclass(frozen=True)
class JobContext:
    """The part of an order that is the same for all clients of a job.

    Attributes:
        job_id: the job.
        seed: the job's seed, for training.
        spec: the family's settings.
        exchange_url: the exchange of models and updates.
        data_dir, data_digest: the partition that holds the client's data.
        silos_dir: parent of the clients' private folders.
        evaluation_seed, negatives: seed and number of the sampled negatives of a held-out case. They are the
            same in all jobs on the same data, so that their metrics can be compared.
        cohort: number of clients that each round selects.
        postprocessors: the postprocessors, in the order in which clients apply them.
        earlier_jobs: the jobs that trained the model before, on other cases than this one holds out. A client
            does not evaluate the model on interactions that they trained on.
        earlier_records: for each of these jobs, how many clients with a private folder beside the client's
            own it trained, at least. Each has a record of its interactions.
        users_share: share of the users whose held-out cases are evaluated.
        ranges: array name -> the range of its values in contributions, in place of the family's.
        secure_sum: whether what clients send is masked, so that only sums can be read.
        max_weight: the greatest weight of a client in a secure sum.
        update_limits: of the update contract, which a member of a secure sum checks itself.
        noise: the noise that clients add to all that leaves them; None without privacy.
        delta: of differential privacy, from which a silo works out the epsilon itself; None without privacy.
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
    earlier_jobs: tuple[str, ...] = ()
    earlier_records: tuple[int, ...] = ()
    users_share: float = 1.0
    ranges: Mapping[str, Range] = field(default_factory=dict)
    secure_sum: bool = False
    max_weight: int = 1 << 20
    update_limits: UpdateLimits = field(default_factory=UpdateLimits)
    noise: NoisePlan | None = None
    delta: float | None = None

    @cached_property
    def family(self) -> Family:
        """Return the family that clients train."""
        family = family_of(self.spec)
        return family.with_noise(self.noise) if self.noise else family

    @property
    def exchange(self) -> Exchange:
        """Return the exchange of models and updates."""
        return open_exchange(self.exchange_url)


@dataclass(frozen=True)
class StartingPoint:
    """The user embeddings that a client starts from.

    Attributes:
        job_id: the job that trained them; None for a client that never trained, whose users start at random.
        round: the last round of that job in which the client was accepted.
        exact: whether the state must be of this round. A job continues from exactly the state it committed. A
            job that starts from an earlier job's model uses the nearest state left of that job, because a
            client keeps only the newest states.
    """

    job_id: str | None
    round: int
    exact: bool = True


@dataclass(frozen=True)
class ModelStep:
    """How a model follows from the one before.

    Attributes:
        before: the model before.
        sum: the round's sum, which `tasks.exchange.model_steps` reads.
    """

    before: ArtifactRef
    sum: ArtifactRef


@dataclass(frozen=True)
class ClientOrder:
    """An order to one client in one round.

    Attributes:
        job: the part that is the same for all clients.
        client_id: the client.
        round: number of the model to train, or to evaluate.
        base: the global model to start from, or to evaluate.
        start: the user embeddings that belong to the base model.
        kept: earlier rounds of this job whose user embeddings the client must keep, because a longer job
            continues from there.
        sum: the secure sum in which the answer is a summand; None if the coordinator gets the answer itself.
        base_step: a smaller object from which a silo that has the model before can make `base`.
    """

    job: JobContext
    client_id: str
    round: int
    base: ArtifactRef
    start: StartingPoint
    kept: tuple[int, ...] = ()
    sum: SumOrder | None = None
    base_step: ModelStep | None = None

    def answer_kind(self, step: str) -> str:
        """Return the kind of the answer to this order for a step."""
        return answer_kind(step, self.sum)

    @cached_property
    def silo(self) -> Path:
        """Return the client's private folder."""
        return Path(self.job.silos_dir) / self.client_id
