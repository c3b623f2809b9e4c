"""Poisoning: what liars among the clients achieve against each defence, and what the defence costs.

Liars join the honest clients. Exposure is ER@10: of the users who did not use the target, the share whose
first ten items hold it (Rong et al. 2022). Quality is leave-one-out's on the honest users' validation cases.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from models.errors import InvalidInput
from models.evaluation.bootstrap import interval, ratio_interval
from models.evaluation.protocols import LEAVE_ONE_OUT
from models.evaluation.user_sums import metric_curves
from models.kernel.seeds import generator_for
from models.promotion.exposure import Exposure, exposure_jumps
from models.recommenders.base.family import Family
from tasks.bench.attacks.cases import dealt, unpopular_item, user_counts
from tasks.bench.attacks.defences import NONE, Defence
from tasks.bench.attacks.federation import DefendedFederation
from tasks.bench.attacks.lies import Lie
from tasks.bench.quality.arms import Trained
from tasks.bench.quality.cases import BenchClient, Learner
from tasks.bench.quality.table_rows import Announce, Curves, Evaluator, named, numbers

QUALITY = ("loo_ndcg@10", "loo_hr@10", "ndcg@10")
EXPOSURE, ALARM = "er@10", "alarm"
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
        defences: how the coordinator merges; without a defence and liars it is always measured.
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
        target: the item that liars lift.
        exposure: how many users' first ten items hold each item.
    """

    curves: Curves
    target: int
    exposure: Exposure


class AttackCase(NamedTuple):
    """A cell of the table.

    Attributes:
        defence: how the coordinator merges.
        lie: name of what the liars send; empty without liars.
        liars: their number.
    """

    defence: Defence
    lie: str
    liars: int


def poisoning_rows(
    clients: Sequence[BenchClient], plan: PoisoningPlan, announce: Announce, threads: int = 1
) -> Iterator[dict[str, Any]]:
    """Yield a row for each defence, lie, number of liars and metric.

    Of the exposure, the value is the median over the seeds, and low and high are the least and the largest.
    Of the quality it is the mean with its 95 % interval, and rows have the ratio to the federation without
    liars and defence, paired over users and seeds. Of the alarm (`exposure_jumps`) it is the share of seeds
    in which it names the target; `others` counts the other items that it names.

    Args:
        clients: the users with their held-out cases.
        plan: what to measure.
        announce: is called with a line of text for each cell.
        threads: number of federations trained at once.
    """
    worlds = {seed: DealtWorld.of(clients, plan, seed) for seed in plan.seeds}
    cells = list(_cells(plan, worlds[plan.seeds[0]].lies))
    honest: list[Outcome] = []
    with ThreadPoolExecutor(threads) as pool:
        measured = pool.map(lambda cell: [world.outcome(cell, seed) for seed, world in worlds.items()], cells)
        for cell, found in zip(cells, measured, strict=True):
            honest = honest or found  # the first cell has neither liars nor a defence
            yield from _rows(plan, cell, found, honest)
            exposure = np.median([each.curves[EXPOSURE][0] for each in found])
            liars = f"{cell.liars} liars by {cell.lie}" if cell.liars else "no liars"
            announce(f"{plan.family.name()}, {cell.defence.name}, {liars}: exposure {exposure:.3f}")


@dataclass(frozen=True)
class DealtWorld:
    """One deal of the users, with its target, and how its federations are judged."""

    evaluator: Evaluator
    federation: DefendedFederation
    scene: Scene
    lies: Mapping[str, Lie]

    @classmethod
    def of(cls, clients: Sequence[BenchClient], plan: PoisoningPlan, seed: int) -> DealtWorld:
        """Return the world of a seed."""
        learners = dealt(clients, plan.clients, seed)
        counts = user_counts(learners)
        scene = Scene(
            target=unpopular_item(counts, plan.most_users, seed),
            popular=np.argsort(-counts, kind="stable"),
            known=_known(learners, seed),
            users=round(sum(len(each.user_ids) for each in learners.values()) / len(learners)),
        )
        federation = DefendedFederation(plan.family, plan.rounds, learners)
        return cls(Evaluator(clients, LEAVE_ONE_OUT), federation, scene, plan.lies(scene))

    def outcome(self, cell: AttackCase, seed: int) -> Outcome:
        """Return the exposure of the target and the quality of a federation with these liars."""
        lie = self.lies[cell.lie] if cell.liars else None
        return self.judged(self.federation.train(cell.defence, seed, lie, cell.liars))

    def judged(self, trained: Trained) -> Outcome:
        """Return the exposure of the target and the quality of a recommender."""
        evaluator = self.evaluator
        sums = [evaluator.sums(client, trained) for client in evaluator.clients]
        total = sum(sums[1:], start=sums[0])
        curves = metric_curves(total, evaluator.names, evaluator.item_users)
        used = evaluator.item_users[self.scene.target]
        # Users of the target cannot be shown it. A replicate has about the same share of them.
        er = total.recommended[:, self.scene.target] / (total.users * (1.0 - used))
        shown = Exposure(total.recommended[0].astype(np.int64), int(total.users[0]))
        quality = {name: curves[name] for name in QUALITY}
        return Outcome({EXPOSURE: er} | quality, self.scene.target, shown)


def _cells(plan: PoisoningPlan, lies: Iterable[str]) -> Iterator[AttackCase]:
    yield AttackCase(NONE, "", 0)
    for defence in plan.defences:
        if defence != NONE:
            yield AttackCase(defence, "", 0)
        for lie, liars in product(lies, plan.liars):
            yield AttackCase(defence, lie, liars)


def _rows(
    plan: PoisoningPlan, cell: AttackCase, found: Sequence[Outcome], honest: Sequence[Outcome]
) -> Iterator[dict[str, Any]]:
    row = {
        "family": plan.family.name(),
        "defence": cell.defence.name,
        "attack": cell.lie,
        "liars": cell.liars,
        "clients": plan.clients,
        "seeds": len(found),
    }
    exposures = np.array([each.curves[EXPOSURE][0] for each in found])
    ends = (("value", np.median(exposures)), ("low", exposures.min()), ("high", exposures.max()))
    yield row | {"metric": EXPOSURE} | {name: round(float(value), 5) for name, value in ends}
    for metric in QUALITY:
        runs = np.stack([each.curves[metric] for each in found])
        ratio = ratio_interval(runs, np.stack([each.curves[metric] for each in honest]))
        ratios = {f"ratio{name}": value for name, value in named(ratio)}
        yield row | {"metric": metric} | numbers(interval(runs)) | ratios
    if len(found) > 1:
        yield row | {"metric": ALARM} | _alarms(found, honest)


def _alarms(found: Sequence[Outcome], honest: Sequence[Outcome]) -> dict[str, float]:
    """Return in which share of the seeds the alarm names the target, and how many other items it names.

    The earlier versions of each seed are the honest federations of all other seeds.
    """
    hits, others = 0, 0
    for place, own in enumerate(found):
        history = [each.exposure for at, each in enumerate(honest) if at != place]
        jumped = {each.item for each in exposure_jumps(own.exposure, history)}
        hits += own.target in jumped
        others += len(jumped - {own.target})
    return {"value": round(hits / len(found), 5), "others": others}


def _known(learners: Mapping[str, Learner], seed: int) -> list[np.ndarray]:
    """Return the public items of the users who have some: each interaction is public by chance.

    Raises:
        InvalidInput: no interaction is public, because there are so few.
    """
    random = generator_for(seed, "public interactions")
    parts = [
        own[random.random(len(own)) < KNOWN_SHARE]
        for name in sorted(learners)
        for own in learners[name].histories
    ]
    public = [part for part in parts if len(part)]
    if not public:
        raise InvalidInput(
            f"None of the interactions is public, with a share of {KNOWN_SHARE}.",
            next_step="Measure on a partition with more interactions.",
        )
    return public
