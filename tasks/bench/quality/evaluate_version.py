"""Evaluates a registered version by a named protocol, with intervals over users."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from models.errors import CorruptArtifact, InvalidInput, NotFound
from models.evaluation.bootstrap import interval
from models.evaluation.judgement import RANKINGS
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.evaluation.split import sampled_users
from models.evaluation.trained_pairs import pair_keys
from models.kernel.metric import as_json, values
from models.recommenders.base.data import Part
from models.recommenders.families.registry import answering
from tasks.bench.quality.arms import Trained, scores_by_history
from tasks.bench.quality.cases import BenchClient, clients_of
from tasks.bench.quality.table_rows import Evaluator
from tasks.clients.client_rows import catalog_keys
from tasks.clients.trained_pairs import seen
from tasks.coordinator.lineage import records_of
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.local.home import Home
from tasks.messages.earlier_training import SplitFacts
from tasks.tracking import registry
from tasks.tracking.registered_round import RegisteredRound, read_result

if TYPE_CHECKING:
    from mlflow import MlflowClient


def evaluate_version(
    home: Home,
    data_dir: str,
    model_name: str,
    version: str,
    part: Part,
    *,
    seed: int,
    negatives: int,
    users_share: float = 1.0,
) -> dict[str, Any]:
    """Return the version's metrics on one part of leave-one-out, as `fedrec evaluate` prints them.

    Users are folded in from their histories, because a version has no user vectors: these stay with their
    clients. "job" holds the figures of the job itself on the same cases, if they are known, and how it scored
    the users. "job_has_noise" is whether these have noise; those here never do.

    Cases that earlier jobs of the version's lineage saw do not count, as in its own job.

    Other protocols would hold out interactions that the version was trained on. `fedrec bench quality` trains
    separately for them.

    Args:
        home: the home of the registry.
        data_dir: the partition that the version was trained on.
        model_name: the registered model.
        version: a version number or an alias.
        part: "validation" or "test".
        seed, negatives: of the sampled items, as in the job. The version's own seed replaces another one,
            because the seed also decides what is held out if the data have no times.
        users_share: share of the users who are evaluated, as in the job.

    Raises:
        NotFound: the version or the partition does not exist.
        InvalidInput: the version was trained on other data, or predicts ratings, or no case counts.
    """
    client = registry.open_registry(home)
    name = registry.resolve_model_name(client, model_name)
    found = registry.load_version(client, name, version)
    partition = open_partition(data_dir)
    if found.record.data_digest != partition.digest:
        raise InvalidInput(
            f"Version {found.version} of {name!r} was trained on data {found.record.data_digest[:12]}, "
            f"but {partition.root} contains {partition.digest[:12]}; it may have been trained on "
            "interactions that are held out there.",
            next_step="If the data in that folder were replaced since, make the former again in a folder "
            "of their own ('fedrec data partition --out') and evaluate with a configuration that names it; "
            "otherwise give the configuration that the version was trained with.",
        )
    items = found.model().items
    if answering(items).judgement is not RANKINGS:
        raise InvalidInput(
            f"Version {found.version} of {name!r} predicts ratings, but this protocol evaluates rankings.",
            next_step="The job's report and MLflow show its errors by round.",
        )
    scores = scores_by_history(items)
    own_seed = _seed_of(client, name, found)
    used_seed = seed if own_seed is None else own_seed
    every = clients_of(
        partition,
        LEAVE_ONE_OUT,
        part,
        seed=used_seed,
        negatives=negatives,
        by_id=found.record.privacy is not None,
    )
    some = (one.of_users(sampled_users(one.user_ids, users_share, used_seed)) for one in every)
    all_cases = [one for one in some if one.user_ids]
    split = None if own_seed is None else SplitFacts(partition.digest, own_seed)
    jobs = found.record.earlier.other_jobs(split) if found.record.earlier else ()
    clients = _unseen(home, partition, jobs, all_cases)
    users, cases = (sum(len(one.held_out.users) for one in each) for each in (clients, all_cases))
    if not users:
        raise InvalidInput(
            f"None of the {cases} {part} cases of version {found.version} of {name!r} counts, because "
            "earlier trainings of the model saw them or may have.",
            next_step="Evaluate a version of a job with start_from: fresh.",
        )
    curves = (
        Evaluator(clients, LEAVE_ONE_OUT).measure(lambda _: Trained(scores), (0,), by_client=False).curves
    )
    metrics = {}
    for metric, runs in curves.items():
        shown = interval(runs)
        metrics[metric] = {"value": shown.value, "low": shown.low, "high": shown.high}
    return {
        "model_name": name,
        "version": found.version,
        "model_sha256": found.sha256,
        "data_digest": partition.digest,
        "protocol": LEAVE_ONE_OUT.name,
        "part": part,
        "seed": used_seed,
        "given_seed": seed,
        "clients": len(clients),
        "users": users,
        "users_share": users_share,
        "left_out": cases - users,
        "user_vectors": "folded_in",
        "metrics": metrics,
        "job": _of_job(client, name, found, part),
        "job_has_noise": found.record.privacy is not None,
    }


def _seed_of(client: MlflowClient, name: str, found: RegisteredRound) -> int | None:
    """Return the seed with which the version's job split its data; None if that is not known."""
    if found.record.evaluation_seed is not None:
        return found.record.evaluation_seed
    # Records of older versions lack it.
    with contextlib.suppress(NotFound, CorruptArtifact):
        seed = registry.load_config_of(client, name, found.version).get("evaluation", {}).get("seed")
        return seed if isinstance(seed, int) else None
    return None


def _unseen(
    home: Home, partition: Partition, jobs: tuple[str, ...], clients: Sequence[BenchClient]
) -> tuple[BenchClient, ...]:
    """Return the clients with only those cases that none of these jobs has trained on."""
    if not jobs:
        return tuple(clients)
    of_items = catalog_keys(str(partition.root), partition.digest)
    records = records_of(home, jobs)
    unseen = []
    for one in clients:
        held = one.held_out
        keys = pair_keys(one.user_ids, of_items, held.users, held.items)
        counted = ~seen(keys, str(home.silos), jobs, records)
        cases = replace(
            held, users=held.users[counted], items=held.items[counted], negatives=held.negatives[counted]
        )
        unseen.append(replace(one, held_out=cases))
    return tuple(unseen)


def _of_job(client: MlflowClient, name: str, found: RegisteredRound, part: Part) -> dict[str, Any] | None:
    """Return the job's own figures of the version; None if the job has none.

    A job evaluates some rounds on validation cases, and only its last model on test cases.
    """
    artifacts = registry.artifacts_of_job(client, name, found.version)
    where = f"The job of version {found.version} of {name!r}"
    result = read_result(artifacts, where, client.tracking_uri)
    metrics: Mapping[str, float] | None = None
    if part == "validation" and found.record.evaluation:
        metrics = values(as_json(found.record.evaluation.metrics))
    if part == "test" and result and result.model_sha256 == found.sha256:
        metrics = result.final.federated
    return {"user_vectors": result and result.user_vectors, "metrics": dict(metrics)} if metrics else None
