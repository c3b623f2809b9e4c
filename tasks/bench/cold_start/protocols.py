"""The cold-start table: new items by features, new users by fold-in, new silos by the model of the others.

Each is compared with a naive recommender, and with the same family when nothing is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from models.evaluation.cold_start import KNOWN_ITEMS, NEW_ITEMS, NEW_SILOS, NEW_USERS
from models.evaluation.protocols import LEAVE_ONE_OUT, Protocol
from models.evaluation.user_sums import SHARE_METRICS
from models.federation.model import ItemModel
from models.kernel.seeds import generator_for
from models.recommenders.base.data import Part
from models.recommenders.items.cold_items import Placement
from models.recommenders.items.features import ItemFeatures
from tasks.bench.cold_start import baselines
from tasks.bench.cold_start.cases import NewItems, new_items, new_users, with_latest
from tasks.bench.cold_start.rows import Base, Row, Rows
from tasks.bench.quality.arms import BenchFamily, Trained, scores_by_history
from tasks.bench.quality.cases import BenchClient, Learner, by_client, clients_of
from tasks.bench.quality.table_rows import Announce, Curves, Evaluator, Measured
from tasks.datasets.partition_reader import Partition, read_items

HISTORIES = (1, 3, 5, 10, 20)
ITEM_METRICS = (*(f"cold_{name}" for name in SHARE_METRICS), *SHARE_METRICS)
# Relative size of the noise that breaks ties: smaller than real differences of scores, larger than rounding
# errors.
_NOISE = 1e-9
SILO_METRICS = ("loo_hr@10", "loo_ndcg@10", "hr@10", "ndcg@10")


@dataclass(frozen=True)
class ColdStart:
    """Measures families on the cold-start protocols.

    Attributes:
        partition: the data, with one client per silo.
        families: with their settings.
        part: "test" for the table, "validation" for choices.
        seeds: for families whose training is random.
        announce: is called with a line of text for each step.
    """

    partition: Partition
    families: Sequence[BenchFamily]
    part: Part
    seeds: Sequence[int]
    announce: Announce

    def rows(self, protocols: Sequence[str]) -> Iterator[Row]:
        """Yield the rows of these protocols, as `Rows` makes them."""
        known = {
            NEW_ITEMS.name: self._new_items,
            NEW_USERS.name: self._new_users,
            NEW_SILOS.name: self._new_silos,
        }
        for name in protocols:
            yield from known[name]()

    def _new_items(self) -> Iterator[Row]:
        data, catalogue = new_items(self.partition, self.part, seed=0), read_items(self.partition)
        learners = by_client(data.clients)
        rows = self._rows(NEW_ITEMS, learners, ITEM_METRICS)
        features = ItemFeatures.of(catalogue).matrix()
        counts = baselines.popularity(learners.values(), len(catalogue))
        naive = {
            "random": baselines.at_random(len(catalogue), 0),
            "newest": baselines.newest(catalogue, 0),
            "content": baselines.content(features),
            "genre_popularity": baselines.genre_popularity(catalogue, counts, data.trained),
        }
        figures = {
            name: _among_all_and_cold(data, {0: trained})
            for name, trained in naive.items()
            if trained is not None
        }
        for name, curves in figures.items():
            yield from rows.of(name, "naive", curves)
        popular = figures.get("genre_popularity")
        base = None if popular is None else Base("genre_popularity", popular)
        placement = Placement.of(data.trained, features)
        for family in self.families:
            with self._timed(NEW_ITEMS, family, "centralised"):
                pooled = {seed: family.centralised(learners, seed) for seed in self._seeds(family)}
            known = Base("centralised", _among_all_and_cold(data, _placed(pooled, placement)))
            yield from rows.of(family.name, known.name, known.curves, naive=base)
            with self._timed(NEW_ITEMS, family, "federated"):
                trained = {seed: family.federated(learners, seed) for seed in self._seeds(family)}
            found = _among_all_and_cold(data, _placed(trained, placement))
            yield from rows.of(family.name, "federated", found, naive=base, known=known)
            yield from rows.of(family.name, "unplaced", _among_all_and_cold(data, trained), naive=base)

    def _new_users(self) -> Iterator[Row]:
        data = new_users(self.partition, self.part, seed=0)
        everyone = Evaluator(data.clients, NEW_USERS)
        rows = self._rows(NEW_USERS, data.others, SHARE_METRICS)
        counts = baselines.popularity(data.others.values(), len(self.partition.catalog))
        popular = everyone.measure(partial(_the_same, baselines.same_for_all(counts)), (0,))
        base = Base("popularity", popular.curves)
        yield from rows.of(base.name, "naive", base.curves, more={"history": 0})
        for family in self.families:
            seeds = self._seeds(family)
            with self._timed(NEW_USERS, family, "trained_in"):
                joined = everyone.measure(partial(family.federated, data.joined), seeds)
            trained_in = Base("trained_in", joined.curves)
            with self._timed(NEW_USERS, family, "federated"):
                models = {seed: _model(family.federated(data.others, seed)) for seed in seeds}
                for n in HISTORIES:
                    found = everyone.measure(partial(_by_latest, models, n), seeds)
                    more = {"history": n}
                    yield from rows.of(
                        family.name, "federated", found.curves, naive=base, known=trained_in, more=more
                    )
            more = {"history": KNOWN_ITEMS}
            yield from rows.of(family.name, "trained_in", joined.curves, naive=base, more=more)

    def _new_silos(self) -> Iterator[Row]:
        clients = clients_of(self.partition, LEAVE_ONE_OUT, self.part)
        learners = by_client(clients)
        everyone = Evaluator(clients, LEAVE_ONE_OUT)
        rows = self._rows(NEW_SILOS, learners, SILO_METRICS)
        popular = everyone.measure(partial(_the_same, Trained(partial(_most_used, learners))), (0,))
        base = Base("popularity", popular.curves)
        yield from rows.of(base.name, "naive", base.curves)
        for family in self.families:
            trainings: dict[str, Callable[[int], Trained]] = {
                "joined": partial(family.federated, learners),
                "silo_only": partial(family.silo_only, learners),
                "federated": partial(_by_others, family, learners),
            }
            arms: dict[str, Measured] = {}
            for arm, train in trainings.items():
                with self._timed(NEW_SILOS, family, arm):
                    # One seed only, because there is one training for each silo that is left out.
                    arms[arm] = everyone.measure(train, self.seeds[:1])
            joined = Base("joined", arms["joined"].curves)
            for arm, found in arms.items():
                known = joined if arm != joined.name else None
                yield from rows.of(family.name, arm, found.curves, naive=base, known=known)
            for name, other in (("popularity", popular), ("silo_only", arms["silo_only"])):
                yield from rows.differences(family.name, f"over_{name}", "ndcg@10", arms["federated"], other)

    def _rows(self, protocol: Protocol, learners: Mapping[str, Learner], metrics: Sequence[str]) -> Rows:
        return Rows(self.partition.root.name, protocol, len(learners), metrics)

    def _seeds(self, family: BenchFamily) -> Sequence[int]:
        return self.seeds if family.seeded else self.seeds[:1]

    def _timed(self, protocol: Protocol, family: BenchFamily, arm: str) -> _Timed:
        return _Timed(self.announce, f"{protocol.name}, {self.part}: {family.name}, {arm}")


@dataclass
class _Timed:
    """Announces how long a step took."""

    announce: Announce
    what: str
    started: float = 0.0

    def __enter__(self) -> None:
        self.started = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.announce(f"{self.what}, {time.perf_counter() - self.started:.0f} s")


def _among_all_and_cold(data: NewItems, trained: Mapping[int, Trained]) -> Curves:
    """Return the figures among all items and, as cold_*, among the cold items alone, by seed."""
    everyone, seeds = Evaluator(data.clients, NEW_ITEMS), tuple(trained)
    untied = {seed: _untied(each) for seed, each in trained.items()}
    only_cold = {seed: _only(each, data.cold) for seed, each in untied.items()}
    among_cold = everyone.measure(only_cold.__getitem__, seeds).curves
    return everyone.measure(untied.__getitem__, seeds).curves | {
        f"cold_{name}": among_cold[name] for name in SHARE_METRICS
    }


def _untied(trained: Trained) -> Trained:
    """Return the recommender with a user's equal scores in random order.

    Items with the same features get the same score. In other protocols a tie is the model's fault and counts
    against it. Here it is a property of the catalogue, and a shop would show these items in some order.
    """

    def scores(client: BenchClient) -> np.ndarray:
        found = np.asarray(trained.scores(client), dtype=np.float64)
        order = generator_for(0, "ties", client.id).random(found.shape)
        # Scores that are all 0 are ties, too.
        return np.asarray(found + _NOISE * (np.abs(found).max() or 1.0) * order)

    return Trained(scores)


def _only(trained: Trained, allowed: np.ndarray) -> Trained:
    """Return the recommender with all other items ranked after the allowed ones."""
    return Trained(lambda client: np.where(allowed, trained.scores(client), -np.inf))


def _placed(trained: Mapping[int, Trained], placement: Placement) -> dict[int, Trained]:
    """Return the recommenders with new items placed.

    A new item's score is computed from those of trained items, which equals placing its vector.
    """

    def one(unplaced: Trained) -> Trained:
        return Trained(lambda client: placement.placed(unplaced.scores(client).T).T)

    return {seed: one(each) for seed, each in trained.items()}


def _the_same(trained: Trained, seed: int) -> Trained:
    return trained


def _by_latest(models: Mapping[int, ItemModel], n: int, seed: int) -> Trained:
    return Trained(lambda client: scores_by_history(models[seed])(with_latest(client, n)))


def _by_others(family: BenchFamily, learners: Mapping[str, Learner], seed: int) -> Trained:
    """Fold each client's users into the model of all other clients; only one model at a time is in memory."""

    def scores(client: BenchClient) -> np.ndarray:
        model = _model(family.federated(_others(learners, client), seed))
        return scores_by_history(model)(client)

    return Trained(scores)


def _most_used(learners: Mapping[str, Learner], client: BenchClient) -> np.ndarray:
    counts = baselines.popularity(_others(learners, client).values(), client.histories.n_items)
    return baselines.same_for_all(counts).scores(client)


def _others(learners: Mapping[str, Learner], client: BenchClient) -> dict[str, Learner]:
    return {name: learner for name, learner in learners.items() if name != client.id}


def _model(trained: Trained) -> ItemModel:
    assert trained.model is not None, "families train models"  # noqa: S101
    return trained.model
