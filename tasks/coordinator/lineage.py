"""The earlier jobs that trained a model before a job starts from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.errors import CorruptArtifact, NotFound
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tasks.messages.earlier_training import EarlierJob, EarlierTraining, SplitFacts
from tasks.messages.orders import JobContext
from tasks.messages.round_record import RoundRecord
from tasks.tracking.registered_round import RegisteredRound
from tasks.tracking.registry import load_config_of

if TYPE_CHECKING:
    from mlflow import MlflowClient


def split_of(config: Mapping[str, Any], data_digest: str) -> SplitFacts | None:
    """Return what decides which interactions a job holds out; None if that is not known.

    The digest of silos on other machines names them, and not the data that they have at the time.

    Args:
        config: the job's configuration as JSON values.
        data_digest: digest of its data.
    """
    kind, seed = (config.get(part, {}).get(key) for part, key in (("runner", "kind"), ("evaluation", "seed")))
    is_known = isinstance(kind, str) and kind not in ("silos", "gateway") and isinstance(seed, int)
    return SplitFacts(data_digest, seed) if is_known else None


def training_before(
    home: Home, registry: MlflowClient, name: str, champion: RegisteredRound
) -> EarlierTraining:
    """Return the training of the champion from which a job starts.

    Args:
        home: contains the jobs.
        registry, name: the registry, and the registered model in it.
        champion: the champion.
    """
    record = champion.record
    try:
        config = load_config_of(registry, name, champion.version)
    except (NotFound, CorruptArtifact):
        config = {}
    split = split_of(config, record.data_digest)
    if record.earlier is not None:
        before, rounds = record.earlier.jobs, record.earlier.rounds_with(record.round)
    elif config.get("start_from") == "fresh":
        before, rounds = (), record.round
    else:
        # A job of an older version does not record the training before it, nor what it held out itself.
        before, rounds, split = (), None, None
    own = [EarlierJob(job_id, split) for job_id in _jobs_of(home, record)]
    return EarlierTraining(champion.version, rounds, tuple(dict.fromkeys((*before, *own))))


def _jobs_of(home: Home, record: RoundRecord) -> tuple[str, ...]:
    """Return the job that trained a round, and those of which it took over the rounds before."""
    committed = Journal(home.jobs / record.job_id).committed()[1 : record.round + 1]
    return tuple(sorted({record.job_id, *(each.job_id for each in committed)}))


def contexts_of_silos(home: Home, context: JobContext, client_ids: Sequence[str]) -> dict[str, JobContext]:
    """Return each silo's part of its orders, with only those earlier jobs of which it must have a record.

    These are the jobs in which it took part, and the jobs whose rounds this home does not have.

    Args:
        home: contains the jobs.
        context: the part for all silos, with all earlier jobs.
        client_ids: the silos.
    """
    took_part = {job_id: _clients_of(home, job_id) or set(client_ids) for job_id in context.earlier_jobs}
    own = {
        client_id: tuple(job_id for job_id, clients in took_part.items() if client_id in clients)
        for client_id in client_ids
    }
    return {
        client_id: replace(context, earlier_jobs=jobs, earlier_records=(1,) * len(jobs))
        for client_id, jobs in own.items()
    }


def records_of(home: Home, job_ids: Sequence[str]) -> tuple[int, ...]:
    """Return how many clients each of these jobs trained; 1 if this home does not have its rounds."""
    return tuple(max(1, len(_clients_of(home, job_id))) for job_id in job_ids)


def _clients_of(home: Home, job_id: str) -> set[str]:
    """Return the clients that a job itself trained; none if this home does not have its rounds."""
    rounds = Journal(home.jobs / job_id).committed()
    return {client_id for one in rounds if one.job_id == job_id for client_id in one.accepted}
