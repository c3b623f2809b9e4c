"""Reading: how well a coordinator tells a client's items from what it sees of a round.

It sees an update, a sum of updates, or the difference of two sums. It scores each item by what it sees in
the item's row, and the score is compared with whether the client's users used the item: AUC, and the best F1
over all thresholds. The floor is the items' popularity, which everyone can read off the model. The strongest
reader weighs popularity and all scores as it learned from clients whose items it knows. Two sums of one round
that differ by one client are not shown: their difference is that client's update.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from models.federation.model import GlobalModel, ItemArrays, ItemModel
from models.kernel.arrays import ArrayGroup
from models.kernel.packed import whole
from models.kernel.seeds import generator_for
from models.recommenders.additive.blend import BlendStatistics
from models.recommenders.base.family import Family, LocalRound
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.items.symmetric import symmetric
from models.recommenders.private.model import ContentWeights
from models.recommenders.private.statistics import PopularitySums
from tasks.bench.attacks.federation import initial_users
from tasks.bench.quality.cases import Learner
from tasks.bench.quality.table_rows import Announce

# The normal distribution's 97.5 % point.
_Z = 1.959964
FLOOR, FITTED = "popularity", "all, fitted"

Arrays = TypeVar("Arrays", bound=ArrayGroup)
Model = TypeVar("Model", bound=ItemModel)


class Reader(ABC, Generic[Arrays, Model]):
    """What a coordinator reads in the rows of a family's contributions."""

    @abstractmethod
    def seen(self, arrays: Arrays) -> np.ndarray:
        """Return (items, n) float64, a sum over clients for a sum of contributions."""

    @abstractmethod
    def scores(self, seen: np.ndarray) -> dict[str, np.ndarray]:
        """Return name -> (items,): scores of each item by what was seen in its row."""

    @abstractmethod
    def popularity(self, items: Model) -> np.ndarray:
        """Return (items,): the popularity of each item, by the model."""


class LightFMReader(Reader[ItemArrays, ItemArrays]):
    """Reads the biases, the sums of squared gradients, and the lengths of the embeddings."""

    def seen(self, arrays: ItemArrays) -> np.ndarray:
        return np.column_stack([arrays.accumulators.sum(axis=1), arrays.biases, arrays.embeddings]).astype(
            np.float64
        )

    def scores(self, seen: np.ndarray) -> dict[str, np.ndarray]:
        lengths = np.linalg.norm(seen[:, 2:], axis=1)
        return {"bias": seen[:, 1], "accumulators": seen[:, 0], "embedding length": lengths}

    def popularity(self, items: ItemArrays) -> np.ndarray:
        return items.item_biases


class BlendReader(Reader[BlendStatistics, ItemWeights]):
    """Reads how many users used the item, and how much it follows and precedes others."""

    def seen(self, arrays: BlendStatistics) -> np.ndarray:
        transitions = arrays.transitions.astype(np.float64)
        users = np.diag(symmetric(arrays.gram.astype(np.float64), len(transitions)))
        return np.column_stack([users, transitions.sum(axis=0) + transitions.sum(axis=1)])

    def scores(self, seen: np.ndarray) -> dict[str, np.ndarray]:
        return {"gram diagonal": seen[:, 0], "transitions": seen[:, 1]}

    def popularity(self, items: ItemWeights) -> np.ndarray:
        return items.popularity


class PopularityReader(Reader[PopularitySums, ContentWeights]):
    """Reads the first sums of the private item model."""

    def seen(self, arrays: PopularitySums) -> np.ndarray:
        return arrays.popularity.astype(np.float64)[:, np.newaxis]

    def scores(self, seen: np.ndarray) -> dict[str, np.ndarray]:
        return {"sum": seen[:, 0]}

    def popularity(self, items: ContentWeights) -> np.ndarray:
        return items.popularity


@dataclass(frozen=True)
class Hidden:
    """The noise in what is read.

    Attributes:
        epsilon: what the model promises each user.
        deviation: standard deviation of the noise in a sum.
        summands: number of clients that share it.
    """

    epsilon: float
    deviation: float
    summands: int


@dataclass(frozen=True)
class ReadingPlan:
    """What is measured of one family.

    Attributes:
        family: the family with its settings.
        reader: reads its contributions.
        rounds: number of merges.
        watched: rounds whose updates the coordinator tries to read, each with the next one.
        others: numbers of other clients in a sum.
        targets: largest number of clients that it tries to read.
        seed: seed of all randomness.
        hidden: the noise in each sum, and its share in each update; None without noise.
    """

    family: Family
    reader: Reader[Any, Any]
    rounds: int
    watched: Sequence[int]
    others: Sequence[int]
    targets: int
    seed: int = 1
    hidden: Hidden | None = None

    @property
    def name(self) -> str:
        """Name of the family in the tables, with what it promises."""
        name = self.family.name()
        return f"{name}, epsilon {self.hidden.epsilon:g}" if self.hidden else name

    def noise(self, shape: tuple[int, ...], share: int, *scope: str | int) -> np.ndarray:
        """Return the noise in a sum, divided among `share` updates."""
        if self.hidden is None:
            return np.zeros(shape)
        random = generator_for(self.seed, "noise", *scope)
        return np.asarray(random.standard_normal(shape) * self.hidden.deviation / share**0.5)


def reading_rows(
    deals: Mapping[str, Mapping[str, Learner]], plan: ReadingPlan, announce: Announce
) -> Iterator[dict[str, Any]]:
    """Yield a row for each deal, round, view, score and metric, with its mean over clients and 95 % interval.

    Args:
        deals: name -> clients that the users are dealt to.
        plan: what to measure.
        announce: is called with a line of text for each deal.
    """
    for deal, learners in deals.items():
        announce(f"reading {plan.name}, {len(learners)} clients: {deal}")
        names = sorted(learners)
        used = np.stack([_used(learners[name]) for name in names])
        # Nothing is to be told of clients whose users used every item.
        readable = np.flatnonzero(~used.all(axis=1))
        targets = generator_for(plan.seed, "targets", deal).permutation(readable)[: plan.targets]
        if len(targets) < 2:  # noqa: PLR2004 - an interval needs two
            announce(f"  {len(targets)} clients left an item unused, so they are not read")
            continue
        seen, models = _watched(learners, plan)
        for round_ in plan.watched:
            prior = plan.reader.popularity(models[round_].items)
            for view, pictures in _views(seen[round_], seen.get(round_ + 1), targets, plan, deal):
                scores = [{**plan.reader.scores(each), FLOOR: prior} for each in pictures]
                for own, fitted in zip(scores, _fitted(scores, used[targets]), strict=True):
                    own[FITTED] = fitted
                found = {
                    score: [
                        (auc(own[score], row), best_f1(own[score], row))
                        for own, row in zip(scores, used[targets], strict=True)
                    ]
                    for score in scores[0]
                }
                yield from _rows(plan, deal, len(learners), round_, view, found)


def auc(scores: np.ndarray, used: np.ndarray) -> float:
    """Return the probability that a used item scores above one that is not; ties count half.

    Args:
        scores: (items,).
        used: (items,), mask of the used items, of which there are some, but not all.
    """
    from scipy.stats import rankdata

    ranks = rankdata(scores)
    n = int(used.sum())
    return float((ranks[used].sum() - n * (n + 1) / 2) / (n * (len(used) - n)))


def best_f1(scores: np.ndarray, used: np.ndarray) -> float:
    """Return the best F1 of "used if the score is at least a threshold" over all thresholds.

    Args:
        scores: (items,).
        used: (items,), mask of the used items, of which there are some.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.diff(scores[order]) != 0.0, True)  # a threshold does not divide equal scores
    hits = np.cumsum(used[order])[ends]
    named = np.flatnonzero(ends) + 1
    return float((2.0 * hits / (named + used.sum())).max())


def _fitted(scores: Sequence[Mapping[str, np.ndarray]], used: np.ndarray) -> np.ndarray:
    """Return (targets, items): a linear discriminant of the ranks of all scores.

    It is fitted to the other half of the targets, whose used items (targets, items) the reader knows.
    """
    from scipy.stats import rankdata

    n_items = used.shape[1]
    columns = (
        np.array([[*map(rankdata, own.values()), np.full(n_items, n_items)] for own in scores]) / n_items
    )
    features = columns.transpose(0, 2, 1)
    half = np.arange(len(scores)) % 2 == 0
    found = np.empty((len(scores), n_items))
    for known, read in ((half, ~half), (~half, half)):
        rows = features[known].reshape(-1, features.shape[2])
        weights, *_ = np.linalg.lstsq(rows, used[known].ravel().astype(np.float64), rcond=None)
        found[read] = features[read] @ weights
    return found


def _used(learner: Learner) -> np.ndarray:
    """Return (items,): whether a user of the client used the item in training."""
    found = np.zeros(learner.histories.n_items, dtype=bool)
    found[learner.histories.items] = True
    return found


def _watched(
    learners: Mapping[str, Learner], plan: ReadingPlan
) -> tuple[dict[int, np.ndarray], dict[int, GlobalModel]]:
    """Return round -> (clients, items, n) seen, and the model that the round makes."""
    family, seed = plan.family, plan.seed
    n_items = next(iter(learners.values())).histories.n_items
    model = GlobalModel(0, "", family.initial(n_items, seed))
    users = {name: initial_users(family, learners[name], name, seed) for name in sorted(learners)}
    seen, models = dict[int, np.ndarray](), dict[int, GlobalModel]()
    wanted = {round_ + ahead for round_ in plan.watched for ahead in (0, 1)}
    for round_ in range(1, min(plan.rounds, max(wanted)) + 1):
        rule = family.rule((round_ - 1) / plan.rounds, seed)
        state, parts = rule.summation(model), []
        for name, own in users.items():
            at = LocalRound(name, round_, seed)
            part, users[name] = family.train(model.items, own, learners[name], at)
            sent = rule.rounded(rule.contribution(part))
            state.add(name, sent)
            if round_ in wanted:
                parts.append(plan.reader.seen(whole(sent.arrays)))
        model = rule.finish(state.result(), model)
        if parts:
            seen[round_], models[round_] = np.stack(parts), model
    return seen, models


def _views(
    seen: np.ndarray, later: np.ndarray | None, targets: np.ndarray, plan: ReadingPlan, deal: str
) -> Iterator[tuple[str, list[np.ndarray]]]:
    """Yield each view's name, and what it shows of each target, (items, n)."""
    of_client = plan.hidden.summands if plan.hidden else 1

    def noisy(pictures: Sequence[np.ndarray], share: int, view: str) -> list[np.ndarray]:
        return [each + plan.noise(each.shape, share, deal, view, at) for at, each in enumerate(pictures)]

    yield "one update", noisy([seen[target] for target in targets], of_client, "update")
    for count in plan.others:
        if count >= len(seen):
            continue
        groups = [_others(len(seen), target, count, plan.seed, deal) for target in targets]
        yield (
            f"sum of {count + 1}",
            noisy(
                [seen[target] + seen[own].sum(axis=0) for target, own in zip(targets, groups, strict=True)],
                1,
                f"sum of {count}",
            ),
        )
        if later is not None:
            # The client is in the first sum only. The others trained once more for the second one.
            yield (
                f"sum of {count + 1}, minus the others' next sum",
                [
                    seen[target] + (seen[own] - later[own]).sum(axis=0)
                    for target, own in zip(targets, groups, strict=True)
                ],
            )


def _others(clients: int, target: int, count: int, seed: int, deal: str) -> np.ndarray:
    random = generator_for(seed, "others", deal, int(target), count)
    return random.choice(np.delete(np.arange(clients), target), count, replace=False)


def _rows(
    plan: ReadingPlan,
    deal: str,
    clients: int,
    round_: int,
    view: str,
    found: Mapping[str, Sequence[tuple[float, float]]],
) -> Iterator[dict[str, Any]]:
    for score, values in found.items():
        for metric, figures in zip(("auc", "f1"), np.array(values).T, strict=True):
            error = _Z * float(figures.std(ddof=1)) / len(figures) ** 0.5
            value = float(figures.mean())
            yield {
                "family": plan.name,
                "deal": deal,
                "clients": clients,
                "round": round_,
                "view": view,
                "score": score,
                "metric": metric,
                "value": round(value, 5),
                "low": round(value - error, 5),
                "high": round(value + error, 5),
                "targets": len(figures),
            }
