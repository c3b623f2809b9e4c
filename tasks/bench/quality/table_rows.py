"""The rows of the quality table: each family in each arm under each protocol, with intervals."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from models.evaluation.bootstrap import Interval, interval, ratio_interval, replicate_weights
from models.evaluation.protocols import LEAVE_ONE_OUT, Protocol
from models.evaluation.ranking import METRICS, case_values
from models.evaluation.user_sums import SHARE_METRICS, UserSums, metric_curves, share_values, top_items
from models.recommenders.base.data import Part
from tasks.bench.quality.arms import BenchFamily, Trained
from tasks.bench.quality.baselines import NAMES, BaselineSpec, train_baseline
from tasks.bench.quality.cases import BenchClient, by_client, by_user, clients_of
from tasks.datasets.partition_reader import Partition

Curves = dict[str, np.ndarray]
Announce = Callable[[str], None]
ARMS = ("centralised", "federated", "silo_only")


@dataclass(frozen=True)
class QualityPlan:
    """What is measured under one protocol.

    Attributes:
        protocol: decides what is held out.
        silos: the families over the partition's clients, with their settings for these.
        users: the families over one client per user, with their settings for these; empty to skip them.
        baselines: names of the centralised baselines.
        baseline_spec: settings of the baselines.
        seeds: for families whose training is random.
        arms: the ways in which each family is trained.
    """

    protocol: Protocol
    silos: Sequence[BenchFamily]
    users: Sequence[BenchFamily]
    baselines: Sequence[str] = NAMES
    baseline_spec: BaselineSpec = field(default_factory=BaselineSpec)
    seeds: Sequence[int] = (1,)
    arms: Sequence[str] = ARMS


@dataclass(frozen=True)
class Measured:
    """The result of one arm.

    Attributes:
        curves: metric -> (seeds, replicates), its value in each replicate.
        trained: of the last seed, with the cost of its training.
        parts: client id -> the curves over its own users, if they were asked for.
    """

    curves: Curves
    trained: Trained
    parts: dict[str, Curves]


def quality_rows(
    partition: Partition, plans: Sequence[QualityPlan], part: Part, announce: Announce
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the table: dataset, protocol, clients, family, arm, metric, value, low, high, seeds.

    Rows of the arm "federated" also contain the ratio to the centralised arm of the same family, paired over
    the same replicates, and the rounds and bytes of each client.

    Args:
        partition: the data, with one client per silo.
        plans: what to measure.
        part: "test" for the table, "validation" for choices.
        announce: is called with a line of text for each step.
    """
    for plan in plans:
        clients = clients_of(partition, plan.protocol, part)
        everyone = Evaluator(clients, plan.protocol)
        groups = [(by_client(clients), plan.silos, True)]
        if plan.users:
            groups.append((by_user(clients), plan.users, False))
        name = f"{plan.protocol.name}, {part}"
        for baseline in plan.baselines:
            announce(f"{name}: {baseline}")
            train = partial(train_baseline, baseline, groups[0][0], plan.baseline_spec)
            found = everyone.measure(train, plan.seeds[:1])
            for learners, _, _ in groups:
                yield from _rows(partition, plan, len(learners), baseline, "centralised", found, None)
        central: dict[BenchFamily, Measured] = {}
        for learners, families, silos in groups:
            for family in families:
                seeds = plan.seeds if family.seeded else plan.seeds[:1]
                arms: dict[str, Measured] = {}
                for arm in plan.arms:
                    if arm == "silo_only" and not silos:
                        continue  # one user alone cannot recommend an item that the user has not used
                    if arm == "centralised" and family in central:
                        arms[arm] = central[family]  # pooling the same users would give the same
                        continue
                    started = time.perf_counter()
                    arms[arm] = everyone.measure(partial(getattr(family, arm), learners), seeds)
                    seconds = time.perf_counter() - started
                    announce(f"{name}: {family.name}, {len(learners)} clients, {arm}, {seconds:.0f} s")
                if "centralised" in arms:
                    central[family] = arms["centralised"]
                for arm, found in arms.items():
                    base = arms.get("centralised") if arm == "federated" else None
                    yield from _rows(partition, plan, len(learners), family.name, arm, found, base)
                if "silo_only" in arms:
                    yield from _benefit_rows(partition, plan, family.name, arms)


@dataclass(frozen=True)
class Evaluator:
    """Evaluates recommenders on the same held-out cases and replicates of all clients."""

    clients: Sequence[BenchClient]
    protocol: Protocol

    def measure(
        self, train: Callable[[int], Trained], seeds: Sequence[int], *, by_client: bool = True
    ) -> Measured:
        """Train once per seed, and return the curves over the seeds.

        Args:
            train: returns the recommender of a seed.
            seeds: at least one.
            by_client: whether to return each client's own curves too.
        """
        trained: Trained | None = None
        item_users = self.item_users
        whole, parts = [], defaultdict[str, list[Curves]](list)
        for seed in seeds:
            trained = train(seed)
            total: UserSums | None = None
            # The sums of one client have a row of all items for each replicate, so they are not kept.
            for client in self.clients:
                own = self.sums(client, trained)
                total = own if total is None else total + own
                if by_client:
                    parts[client.id].append(metric_curves(own, self.names, item_users))
            assert total is not None, "there is a client"  # noqa: S101
            whole.append(metric_curves(total, self.names, item_users))
        assert trained is not None, "there is a seed"  # noqa: S101
        return Measured(_stacked(whole), trained, {name: _stacked(runs) for name, runs in parts.items()})

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the metrics of single users."""
        return METRICS if self.protocol == LEAVE_ONE_OUT else SHARE_METRICS

    @property
    def item_users(self) -> np.ndarray:
        """(items,), the share of all users who have each item in training."""
        counts = sum(np.bincount(c.histories.items, minlength=c.histories.n_items) for c in self.clients)
        return np.asarray(counts / sum(len(client.user_ids) for client in self.clients))

    def sums(self, client: BenchClient, trained: Trained) -> UserSums:
        """Return what a client reports: sums over its users, in each replicate."""
        held, scores = client.held_out, trained.scores(client)
        ranks = held.ranks(scores)
        if self.protocol == LEAVE_ONE_OUT:
            values, owners = case_values(ranks), held.users.astype(np.int64)
        else:
            values, owners = share_values(ranks.full, held.users)
        weights = replicate_weights(len(owners), 0, client.id)
        return UserSums.of(values, top_items(scores, held.histories)[owners], scores.shape[1], weights)


def _rows(
    partition: Partition,
    plan: QualityPlan,
    clients: int,
    family: str,
    arm: str,
    found: Measured,
    base: Measured | None,
) -> Iterator[dict[str, Any]]:
    for metric, runs in found.curves.items():
        row = _row(partition, plan, clients, family, arm, metric) | numbers(interval(runs))
        row["seeds"] = len(runs)
        if base is not None:
            # No ratio if the other figure is 0, in the data or in a replicate.
            if base.curves[metric].mean(axis=0).all():
                ratio = ratio_interval(runs, base.curves[metric])
                row |= {f"ratio{name}": value for name, value in named(ratio)}
            cost = found.trained
            row |= {"rounds": cost.rounds, "bytes_up": cost.bytes_up, "bytes_down": cost.bytes_down}
        yield row


def _benefit_rows(
    partition: Partition, plan: QualityPlan, family: str, arms: Mapping[str, Measured]
) -> Iterator[dict[str, Any]]:
    """Yield the benefit of joining for each client: NDCG@10 federated minus alone, paired over its users."""
    federated, alone = arms["federated"].parts, arms["silo_only"].parts
    for client_id, curves in federated.items():
        metric = "ndcg@10"
        difference = curves[metric] - alone[client_id][metric]
        row = _row(partition, plan, len(federated), family, "benefit", metric)
        if figures := difference_numbers(difference):
            yield row | {"client": client_id} | figures


def _row(
    partition: Partition, plan: QualityPlan, clients: int, family: str, arm: str, metric: str
) -> dict[str, Any]:
    prefix = "" if plan.protocol == LEAVE_ONE_OUT else f"{plan.protocol.name}:"
    return {
        "dataset": partition.root.name,
        "protocol": plan.protocol.name,
        "clients": clients,
        "family": family,
        "arm": arm,
        "metric": f"{prefix}{metric}",
    }


def difference_numbers(difference: np.ndarray) -> dict[str, float]:
    """Return value, low and high of a client's paired difference (seeds, replicates).

    The result is empty if too few replicates draw any of a small client's users.
    """
    kept = difference[:, np.isfinite(difference).all(axis=0)]
    if kept.shape[1] <= 2:  # noqa: PLR2004 - an interval needs the data and two replicates
        return {}
    return numbers(interval(kept))


def numbers(found: Interval) -> dict[str, float]:
    """Return value, low and high of a row."""
    return {name.removeprefix("_") or "value": value for name, value in named(found)}


def named(found: Interval) -> list[tuple[str, float]]:
    """Return the interval's numbers under "", "_low" and "_high"."""
    return [("", round(found.value, 5)), ("_low", round(found.low, 5)), ("_high", round(found.high, 5))]


def _stacked(runs: Sequence[Curves]) -> Curves:
    return {name: np.stack([each[name] for each in runs]) for name in runs[0]}
