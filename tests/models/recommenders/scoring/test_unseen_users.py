"""Users unknown to a model are answered as well as those that it was trained on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.evaluation.ranking import held_out_ranks, ndcg, product_scores
from models.federation.model import ItemArrays
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import train_alone
from models.recommenders.scoring.fold_in import ItemSide, fold_in

USERS, ITEMS, HISTORY, HELD_OUT = 1000, 400, 24, 6
SPEC = LightFMSpec(dims=16)


@dataclass(frozen=True)
class World:
    """(users, HISTORY) items to learn from and (users, HELD_OUT) items to find."""

    history: np.ndarray
    held_out: np.ndarray


def make_world(seed: int) -> World:
    """Return users with tastes of six dims. They draw items by taste and a long-tailed popularity."""
    random = np.random.default_rng(seed)
    items, tastes = random.normal(size=(ITEMS, 6)), random.normal(size=(USERS, 6))
    popularity = -1.1 * np.log(1.0 + random.permutation(ITEMS))
    # The largest of scores with Gumbel noise are a draw without replacement by the softmax of the scores.
    noisy = 0.9 * tastes @ items.T + popularity + random.gumbel(size=(USERS, ITEMS))
    drawn = np.argsort(-noisy, axis=1)[:, : HISTORY + HELD_OUT]
    drawn = random.permuted(drawn, axis=1)
    return World(history=np.sort(drawn[:, :HISTORY], axis=1), held_out=drawn[:, HISTORY:])


def train(world: World, users: np.ndarray) -> tuple[ItemArrays, np.ndarray]:
    """Return LightFM's items and (users, dims) after training on these users' histories alone."""
    data = TrainingSet(np.repeat(users, HISTORY), world.history[users].ravel(), (USERS, ITEMS))
    items, own = train_alone(data, SPEC, epochs=20, seed=1, client_id="everyone")
    return items, own.embeddings


def quality(world: World, users: np.ndarray, vectors: np.ndarray, items: ItemArrays) -> float:
    """Return the mean NDCG@10 of these users' held-out items among all that they have not trained on."""
    ranks = held_out_ranks(
        product_scores(vectors, items.embeddings, items.biases),
        ITEMS,
        case_users=np.repeat(users, HELD_OUT),
        case_items=world.held_out[users].ravel(),
        train_users=np.repeat(np.arange(USERS), HISTORY),
        train_items=world.history.ravel(),
        negatives=np.zeros((len(users) * HELD_OUT, 1), dtype=np.int32),
    )
    return float(ndcg(ranks.full, 10).mean())


def test_folded_in_users_rank_as_well_as_trained_ones():
    unseen = np.arange(USERS) % 5 == 0
    held_out_users = np.flatnonzero(unseen)
    trained, folded, unknown = [], [], []
    for seed in range(6):
        world = make_world(seed)
        items, vectors = train(world, np.arange(USERS))
        trained.append(quality(world, held_out_users, vectors, items))

        items, _ = train(world, np.flatnonzero(~unseen))
        side = ItemSide.of(items.embeddings, items.biases)
        vectors = np.stack([fold_in(history, side).vector for history in world.history]).astype(np.float32)
        folded.append(quality(world, held_out_users, vectors, items))
        unknown.append(quality(world, held_out_users, np.zeros_like(vectors), items))

    assert np.mean(folded) >= 0.97 * np.mean(trained)
    # In these worlds the user's taste matters: popularity alone is far worse.
    assert np.mean(unknown) < 0.6 * np.mean(trained)
