"""Federated rounds in one process, some of whose clients lie, merged with or without a defence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.federation.contribution import RunningSum
from models.federation.merge import MergeRule
from models.federation.model import GlobalModel
from models.kernel.arrays import ArrayGroup
from models.kernel.packed import PackedArrays, whole
from models.kernel.seeds import seed_for
from models.recommenders.base.family import Family, LocalRound
from models.recommenders.base.users import UserArrays
from tasks.bench.attacks.defences import Defence
from tasks.bench.attacks.lies import Lie
from tasks.bench.quality.arms import Trained
from tasks.bench.quality.cases import Learner


@dataclass(frozen=True)
class DefendedFederation:
    """Honest clients that train one model in rounds.

    Attributes:
        family: the family with its settings.
        rounds: number of merges.
        learners: client id -> its data.
    """

    family: Family
    rounds: int
    learners: Mapping[str, Learner]

    def train(self, defence: Defence, seed: int, lie: Lie | None = None, liars: int = 0) -> Trained:
        """Return the recommender of the honest clients' users.

        Args:
            defence: how the coordinator merges the clients' vectors.
            seed: seed of all randomness.
            lie: what the liars send; None for a federation without liars.
            liars: number of liars, who join in addition to the honest clients.
        """
        family = self.family
        n_items = next(iter(self.learners.values())).histories.n_items
        model = GlobalModel(0, "", family.initial(n_items, seed))
        users = {
            name: initial_users(family, self.learners[name], name, seed) for name in sorted(self.learners)
        }
        deal = seed_for(seed, "defence")
        for done in range(self.rounds):
            rule = family.rule(done / self.rounds, seed)
            vectors = dict[str, np.ndarray]()
            for name, own in users.items():
                at = LocalRound(name, done + 1, seed)
                part, users[name] = family.train(model.items, own, self.learners[name], at)
                vectors[name] = _sent(rule, part, defence)
            for at in (LocalRound(f"liar-{number:04d}", done + 1, seed) for number in range(liars)):
                if lie is not None:
                    vectors[at.client_id] = _sent(rule, lie.update(model, at), defence)
            total = defence.total(vectors, deal)
            model = merged(rule, model, total, tuple(sorted(vectors)))
        return self._trained(model, users)

    def _trained(self, model: GlobalModel, users: Mapping[str, UserArrays | None]) -> Trained:
        scores = dict[str, np.ndarray]()
        for name, learner in self.learners.items():
            rows = np.arange(len(learner.user_ids))
            found = self.family.scores(model.items, users[name], learner)(rows)
            scores |= zip(learner.user_ids, found, strict=True)
        return Trained(
            lambda client: np.stack([scores[user_id] for user_id in client.user_ids]), model=model.items
        )


def _sent(rule: MergeRule[Any, Any], arrays: ArrayGroup | PackedArrays[Any], defence: Defence) -> np.ndarray:
    contribution = rule.contribution(arrays)
    return flat((rule.rounded(contribution) if defence.in_ranges else contribution).arrays)


def initial_users(family: Family, learner: Learner, client_id: str, seed: int) -> UserArrays | None:
    """Return the users of a client before its first round; None if the family keeps none."""
    if not family.keeps_users:
        return None
    return family.initial_users(len(learner.user_ids), seed=seed, client_id=client_id)


def flat(arrays: ArrayGroup | PackedArrays[Any]) -> np.ndarray:
    """Return all values of a contribution as one vector (values,), array after array."""
    return np.concatenate([array.ravel() for _, array in whole(arrays).named()])


def merged(
    rule: MergeRule[Any, Any], base: GlobalModel, total: np.ndarray, clients: tuple[str, ...]
) -> GlobalModel:
    """Return the next model, given the vector (values,) of a sum over these clients."""
    form, start, arrays = rule.zero(base.items), 0, dict[str, np.ndarray]()
    for name, array in form.named():
        arrays[name] = total[start : start + array.size].reshape(array.shape)
        start += array.size
    state = RunningSum(type(form)(**arrays), float(len(clients)), clients)
    return rule.finish(state, base)
