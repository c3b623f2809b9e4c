"""The bare loop: a job's training and merging in one process, on data that are in memory already."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, replace

from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.clients.silo_data import load_silo
from tasks.datasets.partition_reader import Partition
from tasks.exchange.codec import encode_model


@dataclass(frozen=True)
class BareRun:
    """A bare loop and what it made.

    Attributes:
        rounds_s: seconds of each round.
        cpu_s: processor seconds of all rounds.
        model_sha256: digest of the final model, encoded as a job encodes it.
    """

    rounds_s: tuple[float, ...]
    cpu_s: float
    model_sha256: str


def bare_loop(partition: Partition, spec: LightFMSpec, rounds: int, seed: int) -> BareRun:
    """Train the rounds of a job with this partition, LightFM and seed, and return their times.

    Loading the data is not timed. The loop has no Prefect, MLflow, contract, message or file.
    """
    data = {
        # The negatives are for the evaluation, which the loop does not have.
        client.id: load_silo(str(partition.root), partition.digest, client.id, 0, negatives=1).training
        for client in partition.clients
    }
    family = LightFMFamily(spec)
    simulation = Simulation(data, spec, lambda round_: family.rule((round_ - 1) / rounds), seed=seed)
    seconds, cpu_began = [], time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        simulation.run_round()
        seconds.append(time.perf_counter() - began)
    cpu_s = time.process_time() - cpu_began
    model = replace(simulation.model, catalog_digest=partition.catalog.digest)
    return BareRun(tuple(seconds), cpu_s, hashlib.sha256(encode_model(model)).hexdigest())
