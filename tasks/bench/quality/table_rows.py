"""The quality table: every family in every arm under every protocol, each number with its interval."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial, reduce
from operator import add
from typing import Any

import numpy as np

from models.evaluation.bootstrap import Interval, interval, ratio_interval, replicate_weights
from models.evaluation.protocols import LEAVE_ONE_OUT, Protocol
from models.evaluation.ranking import METRICS, case_values
from models.evaluation.user_sums import SHARE_METRICS, UserSums, metric_curves, share_values, top_items
from models.recommenders.base.data import Part
from tasks.bench.quality.arms import Family, Trained
from tasks.bench.quality.baselines import NAMES, BaselineSpec, train_baseline
from tasks.bench.quality.cases import BenchClient, by_client, by_user, clients_of
from tasks.datasets.partition_reader import Partition

Curves = dict[str, np.ndarray]
Tell = Callable[[str], None]
ARMS = ("centralised", "federated", "silo_only")


@dataclass(frozen=True)
class Plan:
    """What is measured under one protocol.

    Attributes:
        protocol: what is held out.
        silos: the families over the partition's clients, with their settings there.
        users: the same over one client a user; empty to leave that out.
        baselines: names of the centralised ones.
        baseline_spec: how those train.
        seeds: of the families whose training is random.
        arms: how each family is trained.
    """

    protocol: Protocol
    silos: Sequence[Family]
    users: Sequence[Family]
    baselines: Sequence[str] = NAMES
    baseline_spec: BaselineSpec = field(default_factory=BaselineSpec)
    seeds: Sequence[int] = (1,)
    arms: Sequence[str] = ARMS


@dataclass(frozen=True)
class Measured:
    """The curves of one arm: a metric's value in each replicate, one line a seed; and a training's cost."""

    curves: Curves
    trained: Trained
    parts: dict[str, Curves]


def quality_rows(
    partition: Partition, plans: Sequence[Plan], part: Part, tell: Tell
) -> Iterator[dict[str, Any]]:
    """The rows of the table: dataset, protocol, clients, family, arm, metric, value, low, high, and more.

    Rows of the arm "federated" also hold the ratio to the centralised arm of the same family, paired over the
    same replicates, and the rounds and bytes that it cost each client.

    Args:
        partition: the data, one client a silo.
        plans: what to measure.
        part: "test" for the table, "validation" for choices.
        tell: hears of progress.
    """
    for plan in plans:
        clients = clients_of(partition, plan.protocol, part)
        everyone = Evaluator(clients, plan.protocol)
        groups = [(by_client(clients), plan.silos, True)]
        if plan.users:
            groups.append((by_user(clients), plan.users, False))
        name = f"{plan.protocol.name}, {part}"
        for baseline in plan.baselines:
            tell(f"{name}: {baseline}")
            train = partial(train_baseline, baseline, groups[0][0], plan.baseline_spec)
            found = everyone.measure(train, plan.seeds[:1])
            for learners, _, _ in groups:
                yield from _rows(partition, plan, len(learners), baseline, "centralised", found, None)
        central: dict[Family, Measured] = {}
        for learners, families, silos in groups:
            for family in families:
                seeds = plan.seeds if family.seeded else plan.seeds[:1]
                arms: dict[str, Measured] = {}
                for arm in plan.arms:
                    if arm == "silo_only" and not silos:
                        continue  # one user alone knows no item that the user has not used
                    if arm == "centralised" and family in central:
                        arms[arm] = central[family]  # the same users pooled again
                        continue
                    started = time.perf_counter()
                    arms[arm] = everyone.measure(partial(getattr(family, arm), learners), seeds)
                    seconds = time.perf_counter() - started
                    tell(f"{name}: {family.name}, {len(learners)} clients, {arm}, {seconds:.0f} s")
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

    def measure(self, train: Callable[[int], Trained], seeds: Sequence[int]) -> Measured:
        """The curves over the seeds."""
        trained: Trained | None = None
        whole, parts = [], []
        for seed in seeds:
            trained = train(seed)
            sums = {client.id: self.sums(client, trained) for client in self.clients}
            whole.append(metric_curves(reduce(add, sums.values()), self.names, self.item_users))
            parts.append(
                {name: metric_curves(own, self.names, self.item_users) for name, own in sums.items()}
            )
        assert trained is not None, "there is a seed"  # noqa: S101
        return Measured(
            _stacked(whole),
            trained,
            {client.id: _stacked([each[client.id] for each in parts]) for client in self.clients},
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the metrics of single users."""
        return METRICS if self.protocol == LEAVE_ONE_OUT else SHARE_METRICS

    @property
    def item_users(self) -> np.ndarray:
        """(items,): the share of all users that have each item in training."""
        counts = sum(np.bincount(c.histories.items, minlength=c.histories.n_items) for c in self.clients)
        return np.asarray(counts / sum(len(client.user_ids) for client in self.clients))

    def sums(self, client: BenchClient, trained: Trained) -> UserSums:
        """What a client reports: sums over its users, in every replicate."""
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
    plan: Plan,
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
            # There is no ratio to a figure that is 0, in the data or in a replicate.
            if base.curves[metric].mean(axis=0).all():
                ratio = ratio_interval(runs, base.curves[metric])
                row |= {f"ratio{name}": value for name, value in named(ratio)}
            cost = found.trained
            row |= {"rounds": cost.rounds, "bytes_up": cost.bytes_up, "bytes_down": cost.bytes_down}
        yield row


def _benefit_rows(
    partition: Partition, plan: Plan, family: str, arms: Mapping[str, Measured]
) -> Iterator[dict[str, Any]]:
    """What joining gives each client: NDCG@10 federated minus alone, paired over its users."""
    federated, alone = arms["federated"].parts, arms["silo_only"].parts
    for client_id, curves in federated.items():
        metric = "ndcg@10"
        difference = curves[metric] - alone[client_id][metric]
        row = _row(partition, plan, len(federated), family, "benefit", metric)
        # A replicate may count none of a small client's users.
        kept = difference[:, np.isfinite(difference).all(axis=0)]
        if kept.shape[1] > 2:  # noqa: PLR2004 - the data and the two that an interval needs
            yield row | {"client": client_id} | numbers(interval(kept))


def _row(
    partition: Partition, plan: Plan, clients: int, family: str, arm: str, metric: str
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


def numbers(found: Interval) -> dict[str, float]:
    """value, low and high of a row."""
    return {name.removeprefix("_") or "value": value for name, value in named(found)}


def named(found: Interval) -> list[tuple[str, float]]:
    """The interval's numbers under "", "_low" and "_high"."""
    return [("", round(found.value, 5)), ("_low", round(found.low, 5)), ("_high", round(found.high, 5))]


def _stacked(runs: Sequence[Curves]) -> Curves:
    return {name: np.stack([each[name] for each in runs]) for name in runs[0]}
