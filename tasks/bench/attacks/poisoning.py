"""Poisoning: what liars among the clients achieve against each defence, and what the defence costs.

Liars join the honest clients. Exposure is ER@10, the share of users who did not use the target whose first ten
items hold it (Rong et al. 2022). Quality is leave-one-out's on the honest users' validation cases.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.evaluation.bootstrap import interval, ratio_interval
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.evaluation.user_sums import metric_curves
from models.kernel.seeds import generator_for
from models.recommenders.base.family import Family
from tasks.bench.attacks.cases import dealt, unpopular_item, user_counts
from tasks.bench.attacks.defences import NONE, Defence
from tasks.bench.attacks.federation import Federation
from tasks.bench.attacks.lies import Lie
from tasks.bench.quality.arms import Trained
from tasks.bench.quality.cases import BenchClient, Learner
from tasks.bench.quality.table_rows import Announce, Curves, Evaluator, named, numbers

QUALITY = ("loo_ndcg@10", "loo_hr@10", "ndcg@10")
EXPOSURE = "er@10"
# The public share of interactions that FedRecAttack knows, as in the paper's main setting.
KNOWN_SHARE = 0.05


@dataclass(frozen=True)
class Scene:
    """What liars know of one federation.

    Attributes:
        target: the item to lift.
        popular: (items,), the most used items first.
        known: the public items of each real user who has some.
        users: mean number of users of an honest client.
    """

    target: int
    popular: np.ndarray
    known: Sequence[np.ndarray]
    users: int


@dataclass(frozen=True)
class PoisoningPlan:
    """What is measured of one family.

    Attributes:
        family: the family with its settings.
        rounds: number of merges.
        clients: number of honest clients; the users are dealt to them at random.
        liars: numbers of liars that join them.
        lies: returns name -> lie.
        defences: how the coordinator merges.
        seeds: each deals the users anew and has a target of its own.
        most_users: the targets are items of at most this many users.
    """

    family: Family
    rounds: int
    clients: int
    liars: Sequence[int]
    lies: Callable[[Scene], Mapping[str, Lie]]
    defences: Sequence[Defence]
    seeds: Sequence[int]
    most_users: int = 20


@dataclass(frozen=True)
class Outcome:
    """The result of one federation.

    Attributes:
        curves: metric -> (1 + replicates,), exposure and quality.
        lists: (items,), how many users' first ten items hold each item.
    """

    curves: Curves
    lists: np.ndarray


def poisoning_rows(
    clients: Sequence[BenchClient], plan: PoisoningPlan, announce: Announce
) -> Iterator[dict[str, Any]]:
    """Yield a row for each defence, lie, number of liars and metric.

    Of the exposure, the value is the median over the seeds, and low and high are the least and the largest.
    Of the quality it is the mean with its 95 % interval, and rows have the ratio to the federation without
    liars and defence, paired over users and seeds.
    """
    worlds = {seed: World.of(clients, plan, seed) for seed in plan.seeds}
    honest: list[Outcome] = []
    for defence in plan.defences:
        for lie, liars in _cells(plan, worlds):
            started = time.perf_counter()
            found = [world.outcome(defence, seed, lie, liars) for seed, world in worlds.items()]
            if defence == NONE and not liars:
                honest = found
            yield from _rows(plan, defence, lie, liars, found, honest)
            exposure = np.median([each.curves[EXPOSURE][0] for each in found])
            announce(
                f"{plan.family.name()}, {defence.name}, {liars} liars{f' by {lie}' if liars else ''}: "
                f"exposure {exposure:.3f}, {time.perf_counter() - started:.0f} s"
            )


@dataclass(frozen=True)
class World:
    """One deal of the users, with its target, and how its federations are judged."""

    evaluator: Evaluator
    federation: Federation
    scene: Scene
    lies: Mapping[str, Lie]

    @classmethod
    def of(cls, clients: Sequence[BenchClient], plan: PoisoningPlan, seed: int) -> World:
        """Return the world of a seed."""
        learners = dealt(clients, plan.clients, seed)
        counts = user_counts(learners)
        scene = Scene(
            target=unpopular_item(counts, plan.most_users, seed),
            popular=np.argsort(-counts, kind="stable"),
            known=_known(learners, seed),
            users=round(sum(len(each.user_ids) for each in learners.values()) / len(learners)),
        )
        federation = Federation(plan.family, plan.rounds, learners)
        return cls(Evaluator(clients, LEAVE_ONE_OUT), federation, scene, plan.lies(scene))

    def outcome(self, defence: Defence, seed: int, lie: str = "", liars: int = 0) -> Outcome:
        """Return the exposure of the target and the quality of a federation with these liars."""
        return self.judged(self.federation.train(defence, seed, self.lies.get(lie), liars))

    def judged(self, trained: Trained) -> Outcome:
        """Return the exposure of the target and the quality of a recommender."""
        evaluator = self.evaluator
        sums = [evaluator.sums(client, trained) for client in evaluator.clients]
        total = sum(sums[1:], start=sums[0])
        curves = metric_curves(total, evaluator.names, evaluator.item_users)
        used = evaluator.item_users[self.scene.target]
        # Users of the target cannot be shown it. A replicate has about the same share of them.
        exposure = total.recommended[:, self.scene.target] / (total.users * (1.0 - used))
        return Outcome({EXPOSURE: exposure} | {name: curves[name] for name in QUALITY}, total.recommended[0])


def _cells(plan: PoisoningPlan, worlds: Mapping[int, World]) -> Iterator[tuple[str, int]]:
    yield "", 0
    for lie in next(iter(worlds.values())).lies:
        for liars in plan.liars:
            yield lie, liars


def _rows(
    plan: PoisoningPlan,
    defence: Defence,
    lie: str,
    liars: int,
    found: Sequence[Outcome],
    honest: Sequence[Outcome],
) -> Iterator[dict[str, Any]]:
    cell = {
        "family": plan.family.name(),
        "defence": defence.name,
        "attack": lie,
        "liars": liars,
        "clients": plan.clients,
        "seeds": len(found),
    }
    exposures = np.array([each.curves[EXPOSURE][0] for each in found])
    ends = (("value", np.median(exposures)), ("low", exposures.min()), ("high", exposures.max()))
    yield cell | {"metric": EXPOSURE} | {name: round(float(value), 5) for name, value in ends}
    for metric in QUALITY:
        runs = np.stack([each.curves[metric] for each in found])
        row = cell | {"metric": metric} | numbers(interval(runs))
        if honest:
            ratio = ratio_interval(runs, np.stack([each.curves[metric] for each in honest]))
            row |= {f"ratio{name}": value for name, value in named(ratio)}
        yield row


def _known(learners: Mapping[str, Learner], seed: int) -> list[np.ndarray]:
    """Return the public items of the users who have some: each interaction is public by chance."""
    random = generator_for(seed, "public interactions")
    parts = [
        own[random.random(len(own)) < KNOWN_SHARE]
        for name in sorted(learners)
        for own in learners[name].histories
    ]
    return [part for part in parts if len(part)]
