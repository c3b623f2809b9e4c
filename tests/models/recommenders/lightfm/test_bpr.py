"""BPR draws its negatives from the whole catalogue, whatever interactions a client has."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from lightfm import LightFM

from models.kernel.seeds import generator_for, seed_for
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.lightfm import examples
from models.recommenders.lightfm.delta_rules import AdagradSum
from models.recommenders.lightfm.examples import among_the_catalogue
from models.recommenders.lightfm.simulation import Simulation
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import PooledTraining, initial_items, initial_users, train_round

SEED, CLIENT = 11, "ash"
BPR = LightFMSpec(loss="bpr", dims=2)


def started(data: TrainingSet, spec: LightFMSpec = BPR):
    return (
        initial_items(data.shape[1], spec.dims, SEED),
        initial_users(data.shape[0], spec.dims, SEED, CLIENT),
    )


def drawn(data: TrainingSet, spec: LightFMSpec, rounds: int) -> np.ndarray:
    """Return how often each item's bias fell over rounds that all start from the same model, (items,)."""
    items, users = started(data, spec)
    fallen = np.zeros(data.shape[1], dtype=int)
    for round_ in range(1, rounds + 1):
        found, _ = train_round(items, users, data, spec, seed=SEED, round_=round_, client_id=CLIENT)
        fallen += found.biases < 0
    return fallen


def requires_uniform(counts: np.ndarray) -> None:
    """Fail unless chance can explain the counts: chi-squared with k - 1 degrees of freedom, at 5 sigma."""
    expected = counts.mean()
    degrees = len(counts) - 1
    assert ((counts - expected) ** 2 / expected).sum() < degrees + 5 * (2 * degrees) ** 0.5


@pytest.mark.parametrize("merges", [1, 4])
def test_the_negatives_of_one_user_are_uniform_over_the_items_that_the_user_did_not_use(merges):
    # One example in each round: with four positives in four parts, or with one in one.
    used = np.array([3, 5, 11, 17])[:merges]
    data = TrainingSet(np.zeros(len(used), int), used, (1, 20))
    spec = LightFMSpec(loss="bpr", dims=2, merges_per_epoch=merges)
    counts = drawn(data, spec, 4000)
    assert counts[used].tolist() == [0] * merges
    assert counts.sum() == 4000
    requires_uniform(np.delete(counts, used))


def test_all_items_occur_equally_often_among_the_examples_and_only_positives_have_labels(monkeypatch):
    random = np.random.default_rng(3)
    pairs = np.argwhere(random.random((30, 9)) < np.linspace(0.1, 0.8, 9))
    data = TrainingSet(pairs[:, 0], pairs[:, 1], (30, 9))
    chosen = random.permutation(len(data))[: len(data) // 2]
    for limit, several in ((1 << 22, False), (50, True), (1, True)):
        monkeypatch.setattr(examples, "_MOST_EXAMPLES", limit)
        parts = list(among_the_catalogue(data, chosen))
        assert (len(parts) > 1) == several
        for _, items, labels in parts:
            assert len(set(np.bincount(items, minlength=9).tolist())) == 1
            assert (np.flatnonzero(labels) == np.arange(int(labels.sum()))).all()  # positives come first
        users, items, labels = (np.concatenate(column) for column in zip(*parts, strict=True))
        assert users[labels == 1].tolist() == data.users[chosen].tolist()
        assert items[labels == 1].tolist() == data.items[chosen].tolist()


def test_a_user_of_all_items_has_no_example():
    data = TrainingSet(np.array([0, 0, 0, 1]), np.array([0, 1, 2, 1]), (2, 3))
    ((users, items, labels),) = among_the_catalogue(data, np.array([2, 3, 0, 1]))
    assert (users[labels == 1].tolist(), items[labels == 1].tolist()) == ([1], [1])
    full = TrainingSet(np.array([0, 0]), np.array([0, 1]), (1, 2))
    assert not list(among_the_catalogue(full, np.array([0, 1])))
    start = started(full)
    items, users = train_round(*start, full, BPR, seed=SEED, round_=1, client_id=CLIENT)
    assert np.array_equal(items.embeddings, start[0].embeddings)
    assert np.array_equal(users.embeddings, start[1].embeddings)


class UnshuffledLightFM(LightFM):
    """LightFM with two changes: it keeps the order of the examples, and only positive ones are positives."""

    def __init__(self, positives: sp.csr_matrix, **settings) -> None:
        super().__init__(**settings)
        self.positives = positives

    def _get_positives_lookup_matrix(self, interactions):
        return self.positives


class Unshuffled(np.random.RandomState):
    def shuffle(self, x: np.ndarray) -> None:
        assert np.array_equal(x, np.arange(len(x)))


@pytest.mark.parametrize("penalty", [0.0, 1e-3])
def test_a_round_equals_an_epoch_of_lightfm_on_the_same_examples(penalty):
    random = np.random.default_rng(3)
    pairs = np.concatenate([[(user, item) for item in random.choice(20, 8, False)] for user in range(30)])
    data = TrainingSet(pairs[:, 0], pairs[:, 1], (30, 20))
    spec = LightFMSpec(loss="bpr", dims=4, item_alpha=penalty, user_alpha=penalty)
    items, users = started(data, spec)
    order = generator_for(SEED, "order", CLIENT, 0).permutation(len(data))
    ((rows, columns, labels),) = among_the_catalogue(data, order)
    model = UnshuffledLightFM(
        data.positives,
        no_components=4,
        loss="bpr",
        item_alpha=penalty,
        user_alpha=penalty,
        random_state=Unshuffled(
            np.random.MT19937(np.random.SeedSequence(seed_for(SEED, "training", CLIENT, 1)))
        ),
    )
    for side, arrays in (("item", items), ("user", users)):
        names = ("embeddings", "biases", "embedding_gradients", "bias_gradients")
        for name, array in zip(names, vars(arrays).values(), strict=True):
            setattr(model, f"{side}_{name}", array.copy())
        for name, like in (("embedding", arrays.embeddings), ("bias", arrays.biases)):
            setattr(model, f"{side}_{name}_momentum", np.zeros_like(like))
    # The items' one accumulator stands for every dimension, and becomes the mean of theirs.
    model.item_embedding_gradients = np.ones((20, 4), np.float32)
    model.fit_partial(sp.coo_matrix((labels, (rows, columns)), shape=data.shape), epochs=1, num_threads=1)
    found, found_users = train_round(items, users, data, spec, seed=SEED, round_=1, client_id=CLIENT)
    assert found.embeddings.tobytes() == model.item_embeddings.tobytes()
    means = model.item_embedding_gradients.astype(np.float64).mean(axis=1)
    assert found.embedding_accumulators.tobytes() == means.astype(np.float32).tobytes()
    assert found.bias_accumulators.tobytes() == model.item_bias_gradients.tobytes()
    assert found_users.embeddings.tobytes() == model.user_embeddings.tobytes()


def test_an_item_that_nobody_used_falls_in_pooled_training_too():
    data = TrainingSet(np.repeat(np.arange(10), 3), np.tile(np.arange(3), 10), (10, 6))
    items, _ = PooledTraining(data, BPR, epochs=20, seed=SEED).run(20)
    assert (items.biases[3:] < 0).all()
    assert (items.biases[:3] > 0).all()


# Two tastes: each user likes every item of one half of the catalogue, and one liked item is withheld.
SIDE = 24


def test_a_federation_of_single_users_learns_what_popularity_cannot_know():
    clients, withheld = {}, {}
    for user in range(40):
        liked = np.arange(SIDE)[user % 2 :: 2]
        withheld[f"u{user:02}"] = liked[user // 2 % len(liked)]
        kept = liked[liked != withheld[f"u{user:02}"]]
        clients[f"u{user:02}"] = TrainingSet(np.zeros(len(kept), int), kept, (1, SIDE))
    spec = LightFMSpec(loss="bpr", dims=4, learning_rate=0.1)
    simulation = Simulation(clients, spec, lambda _: AdagradSum(), seed=SEED)
    for _ in range(20):
        simulation.run_round()
    model = simulation.model.items
    for name, item in withheld.items():
        scores = (simulation.users[name].embeddings @ model.embeddings.T + model.biases)[0]
        other_taste = np.arange(SIDE)[(item + 1) % 2 :: 2]
        assert scores[item] > scores[other_taste].max()
