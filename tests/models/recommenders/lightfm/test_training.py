"""Training on our own arrays equals LightFM's, byte for byte, and the parts of an epoch make up the epoch."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import numpy as np
import pytest
import scipy.sparse as sp
from lightfm import LightFM

from models.errors import DivergedUpdate, InvalidInput
from models.federation.model import ClientUpdate, GlobalModel, ItemArrays
from models.kernel.seeds import generator_for, seed_for
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.base.users import UserArrays
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec, Loss, MergeRuleName
from models.recommenders.lightfm.training import (
    PooledTraining,
    initial_items,
    initial_users,
    train_alone,
    train_round,
)

LOSSES = get_args(Loss)
ADAPTIVE = ("fedadagrad", "fedadam", "fedyogi")
SEED, CLIENT = 11, "ash"
# LightFM's names of its twelve arrays, in the order of ours. Adagrad does not use the momentum.
ARRAYS = ("embeddings", "biases", "embedding_gradients", "bias_gradients")


def world(n_users: int = 30, n_items: int = 20, each: int = 8, seed: int = 3) -> TrainingSet:
    """Return every user with `each` distinct items."""
    random = np.random.default_rng(seed)
    items = np.concatenate([random.choice(n_items, each, replace=False) for _ in range(n_users)])
    return TrainingSet(np.repeat(np.arange(n_users), each), items, (n_users, n_items))


def started(data: TrainingSet, spec: LightFMSpec, client: str = CLIENT) -> tuple[ItemArrays, UserArrays]:
    return (
        initial_items(data.shape[1], spec.dims, SEED),
        initial_users(data.shape[0], spec.dims, SEED, client),
    )


def trained(data: TrainingSet, spec: LightFMSpec, start=None, *, round_=1, seed=SEED, client=CLIENT):
    items, users = start or started(data, spec, client)
    return train_round(items, users, data, spec, seed=seed, round_=round_, client_id=client)


def kos(loss: Loss, *, k: int, n: int) -> dict[str, int]:
    """Return WARP k-OS's two settings, for that loss alone."""
    return {"kos_k": k, "kos_n": n} if loss == "warp-kos" else {}


def content(items: ItemArrays, users: UserArrays) -> list[bytes]:
    return [array.tobytes() for _, array in items.named()] + [
        array.tobytes() for array in vars(users).values()
    ]


class UnshuffledRandomState(np.random.RandomState):
    """LightFM's random state with one change: its shuffle keeps the order and draws nothing."""

    def shuffle(self, x: np.ndarray) -> None:
        assert np.array_equal(x, np.arange(len(x)))


def training_state(kind: type[np.random.RandomState], round_: int) -> np.random.RandomState:
    return kind(np.random.MT19937(np.random.SeedSequence(seed_for(SEED, "training", CLIENT, round_))))


SHARED_SETTINGS = ("learning_rate", "item_alpha", "user_alpha", "max_sampled")


def lightfm_epoch(spec, start, matrix, random_state) -> list[bytes]:
    """Return what plain LightFM makes of these arrays in one epoch.

    It starts with an item's one accumulator in every dimension, and returns the mean of those it ends with.
    """
    model = LightFM(
        no_components=spec.dims,
        loss=spec.loss,
        k=spec.kos_k,
        n=spec.kos_n,
        random_state=random_state,
        **{
            name: getattr(spec, name) for name in ("learning_rate", "item_alpha", "user_alpha", "max_sampled")
        },
    )
    for side, arrays in zip(("item", "user"), start, strict=True):
        for name, array in zip(ARRAYS, vars(arrays).values(), strict=True):
            setattr(model, f"{side}_{name}", array.copy())
    model.item_embedding_gradients = np.repeat(
        model.item_embedding_gradients[:, np.newaxis], spec.dims, axis=1
    )
    for side in ("item", "user"):
        for name in ("embedding", "bias"):
            like = getattr(model, f"{side}_{name}_gradients")
            setattr(model, f"{side}_{name}_momentum", np.zeros_like(like))
    model.fit_partial(matrix, epochs=1, num_threads=1)
    means = model.item_embedding_gradients.astype(np.float64).mean(axis=1)
    model.item_embedding_gradients = means.astype(np.float32)
    return [getattr(model, f"{side}_{name}").tobytes() for side in ("item", "user") for name in ARRAYS]


@pytest.mark.parametrize("loss", ["warp", "warp-kos"])
@pytest.mark.parametrize("penalty", [0.0, 1e-3])
def test_a_round_of_a_whole_epoch_equals_an_epoch_of_lightfm(loss, penalty):
    data = world()
    spec = LightFMSpec(loss=loss, dims=4, item_alpha=penalty, user_alpha=penalty, **kos(loss, k=3, n=5))
    ones = np.ones(len(data), dtype=np.float32)
    start = started(data, spec)
    for round_ in (1, 2, 3):
        order = generator_for(SEED, "order", CLIENT, round_ - 1).permutation(len(data))
        matrix = sp.coo_matrix((ones, (data.users[order], data.items[order])), shape=data.shape)
        expected = lightfm_epoch(spec, start, matrix, training_state(UnshuffledRandomState, round_))
        start = trained(data, spec, start, round_=round_)
        assert content(*start) == expected


def test_a_logistic_round_equals_an_epoch_of_lightfm_on_positives_and_sampled_negatives():
    data, spec = world(), LightFMSpec(loss="logistic", dims=4)
    start, random_state = started(data, spec), training_state(np.random.RandomState, 1)
    order = generator_for(SEED, "order", CLIENT, 0).permutation(len(data))
    positives = [(int(data.users[i]), int(data.items[i])) for i in order]
    drawn = (random_state.random(len(data)) * data.shape[1]).astype(int)
    negatives = {(user, int(item)) for (user, _), item in zip(positives, drawn, strict=True)} - set(positives)
    rows, columns = np.array([*positives, *sorted(negatives)], dtype=np.int32).T.copy()
    labels = np.array([1.0] * len(positives) + [-1.0] * len(negatives), dtype=np.float32)
    matrix = sp.coo_matrix((labels, (rows, columns)), shape=data.shape)
    assert content(*trained(data, spec, start)) == lightfm_epoch(spec, start, matrix, random_state)
    assert len(negatives) > 50


@pytest.mark.parametrize("loss", LOSSES)
def test_training_does_not_change_its_inputs(loss):
    data, spec = world(), LightFMSpec(loss=loss, dims=4)
    start = started(data, spec)
    before = content(*start)
    after = trained(data, spec, start)
    assert content(*start) == before
    assert all(new != old for new, old in zip(content(*after), before, strict=True))
    for side in after:
        for array in vars(side).values():
            assert array.dtype == np.float32


@pytest.mark.parametrize("loss", LOSSES)
def test_randomness_depends_on_seed_client_and_round_alone(loss):
    data, spec = world(), LightFMSpec(loss=loss, dims=4)
    start = started(data, spec)
    one = content(*trained(data, spec, start))
    assert content(*trained(data, spec, start)) == one
    others = [{"round_": 2}, {"seed": SEED + 1}, {"client": "birch"}]
    assert all(content(*trained(data, spec, start, **other)) != one for other in others)


def test_initial_arrays_are_lightfms():
    items = initial_items(1000, 8, SEED)
    users = initial_users(1000, 8, SEED, CLIENT)
    for side in (items, users):
        # Uniform in +-0.5/8: the variance is (1/8)^2 / 12, so that of the mean of 8000 draws has 0.0004.
        assert np.abs(side.embeddings).max() <= 0.0625
        assert abs(side.embeddings.mean()) < 0.002
        assert side.embeddings.std() == pytest.approx(0.125 / 12**0.5, rel=0.02)
        assert not side.biases.any()
        assert (side.embedding_accumulators == 1).all()
        assert (side.bias_accumulators == 1).all()
        assert {array.dtype for array in vars(side).values()} == {np.dtype(np.float32)}
    assert not np.array_equal(items.embeddings, users.embeddings)
    assert not np.array_equal(users.embeddings, initial_users(1000, 8, SEED, "birch").embeddings)


@pytest.mark.parametrize("setting", ["merges_per_epoch", "early_merges"])
@pytest.mark.parametrize("parts", [2, 3, 7])
def test_the_parts_of_an_epoch_are_disjoint_and_cover_it(parts, setting):
    # Each user has one positive, and the logistic loss always moves its user: the moved users are the part.
    n = 20
    data = TrainingSet(np.arange(n), np.zeros(n, int), (n, 40))
    early = {"early_epochs": 2} if setting == "early_merges" else {}
    spec = LightFMSpec(loss="logistic", dims=2, **{setting: parts}, **early)
    start = started(data, spec)

    def moved(round_: int) -> set[int]:
        _, users = trained(data, spec, start, round_=round_)
        return set(np.flatnonzero((users.embeddings != start[1].embeddings).any(axis=1)).tolist())

    epochs = [[moved(epoch * parts + part + 1) for part in range(parts)] for epoch in (0, 1)]
    for groups in epochs:
        assert sorted(user for group in groups for user in group) == list(range(n))
        assert {len(group) for group in groups} <= {n // parts, n // parts + 1}
    assert epochs[0] != epochs[1]


@pytest.mark.parametrize("loss", LOSSES)
def test_negatives_avoid_all_positives_and_not_only_those_of_the_part(loss):
    # The user has all items but item 0, so no other item can be a negative.
    n_items = 6
    data = TrainingSet(np.zeros(n_items - 1, int), np.arange(1, n_items), (1, n_items))
    spec = LightFMSpec(loss=loss, dims=2, merges_per_epoch=5, **kos(loss, k=1, n=2))
    state = started(data, spec)
    fallen, risen = set(), set()
    for round_ in range(1, 41):
        before = state[0].biases
        state = trained(data, spec, state, round_=round_)
        change = state[0].biases - before
        fallen |= set(np.flatnonzero(change < 0).tolist())
        risen |= set(np.flatnonzero(change > 0).tolist())
    assert fallen == {0}
    assert risen <= set(range(1, n_items))
    assert len(risen) > 1


@pytest.mark.parametrize("loss", LOSSES)
def test_a_part_without_interactions_changes_nothing(loss):
    data = TrainingSet(np.array([0, 1]), np.array([2, 3]), (2, 5))
    spec = LightFMSpec(loss=loss, dims=2, merges_per_epoch=4)
    start = started(data, spec)
    # Two interactions in four parts: the third and fourth are empty.
    for round_ in (3, 4, 7):
        assert content(*trained(data, spec, start, round_=round_)) == content(*start)


@pytest.mark.parametrize("loss", LOSSES)
def test_diverged_training_is_refused(loss):
    data, spec = world(), LightFMSpec(loss=loss, dims=4, learning_rate=1e30)
    with pytest.raises(DivergedUpdate, match="not finite after training in round 3") as caught:
        state = started(data, spec)
        for _ in range(20):
            state = trained(data, spec, state, round_=3)
    assert (caught.value.client_id, caught.value.round) == (CLIENT, 3)


def test_diverged_users_are_refused_even_if_the_items_are_finite():
    data, spec = TrainingSet(np.array([0]), np.array([1]), (1, 3)), LightFMSpec(dims=2, merges_per_epoch=2)
    items, users = started(data, spec)
    spoilt = replace(users, biases=np.array([np.nan], dtype=np.float32))
    with pytest.raises(DivergedUpdate):
        trained(data, spec, (items, spoilt), round_=2)


@pytest.mark.parametrize("loss", LOSSES)
def test_training_alone_is_reproducible_and_learns_the_training_data(loss):
    data, spec = world(), LightFMSpec(loss=loss, dims=8)
    items, users = train_alone(data, spec, epochs=20, seed=SEED, client_id=CLIENT)
    assert content(*train_alone(data, spec, epochs=20, seed=SEED, client_id=CLIENT)) == content(items, users)
    assert content(*train_alone(data, spec, epochs=20, seed=12, client_id=CLIENT)) != content(items, users)
    scores = users.embeddings @ items.embeddings.T + items.biases
    positive = data.positives.toarray() > 0
    # A positive must beat a random other item far more often than in the half that chance gives.
    wins = np.mean(
        [(row[yes][:, None] > row[~yes]).mean() for row, yes in zip(scores, positive, strict=True)]
    )
    assert wins > 0.65


@pytest.mark.parametrize("loss", ["warp", "bpr"])
def test_the_learning_rate_of_pooled_training_falls_over_its_last_share(loss):
    data, spec = world(), LightFMSpec(loss=loss, dims=8, learning_rate=0.1, cooldown_share=0.5)
    cooled = PooledTraining(data, spec, epochs=4, seed=SEED)
    by_hand = PooledTraining(data, spec, epochs=4, seed=SEED)
    for rate in (0.1, 0.1, 0.1, 0.05):
        by_hand._training.run(rate)
    items, _ = cooled.run(4)
    np.testing.assert_array_equal(items.embeddings, by_hand._training.arrays[0].embeddings)
    constant, _ = PooledTraining(data, replace(spec, cooldown_share=0.0), epochs=4, seed=SEED).run(4)
    assert not np.array_equal(items.embeddings, constant.embeddings)


def test_warp_kos_stays_finite_with_fewer_items_than_draws():
    data, spec = world(n_items=5, each=3), LightFMSpec(loss="warp-kos", dims=2, max_sampled=50)
    items, users = train_alone(data, spec, epochs=5, seed=SEED, client_id=CLIENT)
    assert items.is_finite()
    assert content(items, users) != content(*started(data, spec))


def test_a_training_set_contains_its_pairs():
    data = TrainingSet(np.array([2, 0, 1]), np.array([1, 3, 0]), (3, 4))
    assert len(data) == 3
    users, items = np.divmod(np.arange(12), 4)
    held = [(0, 3), (1, 0), (2, 1)]
    assert [
        (u, i) for u, i, has in zip(users, items, data.contains(users, items), strict=True) if has
    ] == held
    assert data.positives.toarray().sum() == 3


@pytest.mark.parametrize(
    ("users", "items", "what"), [([], [], "at least one interaction"), ([0, 1, 0], [2, 2, 2], "twice")]
)
def test_empty_and_doubled_training_sets_are_refused(users, items, what):
    with pytest.raises(InvalidInput, match=what):
        TrainingSet(np.array(users, dtype=np.int32), np.array(items, dtype=np.int32), (2, 3))


def test_read_only_views_are_copied():
    users, items = np.array([0, 1], dtype=np.int32), np.array([0, 1], dtype=np.int32)
    users.flags.writeable = items.flags.writeable = False
    data, spec = TrainingSet(users, items, (2, 3)), LightFMSpec(dims=2)
    assert content(*trained(data, spec)) != content(*started(data, spec))


# A known answer: users and items of two colours on a checkerboard, where every user likes its own colour.
SIDE = 24


def checkerboard(users: range) -> tuple[TrainingSet, list[int]]:
    """Return a client's training data, and the one item of its own colour that is withheld from each user."""
    pairs, withheld = [], []
    for row, user in enumerate(users):
        liked = [item for item in range(SIDE) if (user + item) % 2 == 0]
        withheld.append(liked[user // 2 % len(liked)])
        pairs += [(row, item) for item in liked if item != withheld[-1]]
    rows, items = np.array(pairs).T
    return TrainingSet(rows, items, (len(users), SIDE)), withheld


@pytest.mark.parametrize("name", get_args(MergeRuleName))
def test_a_federation_finds_the_withheld_squares_of_a_checkerboard(name):
    # A server that adapts its step moves every parameter by about its rate, however small the difference.
    spec, rule = LightFMSpec(dims=4, learning_rate=0.1), merge_rule(name, 0.1 if name in ADAPTIVE else 1.0)
    silos = {"black": range(SIDE // 2), "white": range(SIDE // 2, SIDE)}
    clients = {client: checkerboard(users) for client, users in silos.items()}
    users = {
        client: initial_users(data.shape[0], spec.dims, SEED, client) for client, (data, _) in clients.items()
    }
    model = GlobalModel(0, "checkerboard", initial_items(SIDE, spec.dims, SEED))
    for round_ in range(1, 31):
        state = rule.empty(model)
        for client, (data, _) in clients.items():
            items, users[client] = trained(
                data, spec, (model.items, users[client]), round_=round_, client=client
            )
            deltas = rule.prepare(model.items, items)
            update = ClientUpdate(
                client, model.round, "base", "checkerboard", rule.contribution(deltas, len(data))
            )
            state = rule.add(state, model, update)
        model = rule.finish(state, model)
    assert model.round == 30
    for client, (_, withheld) in clients.items():
        scores = users[client].embeddings @ model.items.embeddings.T + model.items.biases
        for row, user in enumerate(silos[client]):
            other_colour = [item for item in range(SIDE) if (user + item) % 2]
            assert scores[row, withheld[row]] > scores[row, other_colour].max()


def test_further_local_epochs_repeat_the_same_part_in_another_order():
    data, spec = world(), LightFMSpec(dims=4, merges_per_epoch=2)
    once = trained(data, spec)
    twice = trained(data, replace(spec, local_epochs=2))
    # A user whose positives are all in the other part is trained in neither pass.
    order = generator_for(SEED, "order", CLIENT, 0).permutation(len(data))
    part = data.users[order[::2]]
    untouched = sorted(set(range(30)) - set(part.tolist()))
    start = started(data, spec)[1]
    assert np.array_equal(twice[1].embeddings[untouched], start.embeddings[untouched])
    touched = np.unique(part)
    assert (twice[1].embeddings[touched] != once[1].embeddings[touched]).any(axis=1).all()
    assert (twice[1].bias_accumulators[touched] >= once[1].bias_accumulators[touched]).all()


@pytest.mark.parametrize("proximal", [0.25, 1.0, 3.0])
def test_the_proximal_step_pulls_the_items_only(proximal):
    data, spec = world(), LightFMSpec(dims=4)
    base = started(data, spec)
    free, pulled = trained(data, spec), trained(data, replace(spec, proximal=proximal))
    for name in ("embeddings", "biases"):
        w, w0 = getattr(free[0], name).astype(np.float64), getattr(base[0], name).astype(np.float64)
        expected = (w + proximal * w0) / (1 + proximal)
        np.testing.assert_allclose(getattr(pulled[0], name), expected, rtol=1e-4, atol=1e-6)
    for name in ("embedding_accumulators", "bias_accumulators"):
        assert np.array_equal(getattr(pulled[0], name), getattr(free[0], name))
    for name, array in vars(free[1]).items():
        assert np.array_equal(getattr(pulled[1], name), array)


def test_the_pull_comes_after_every_pass():
    # Pulled almost all the way, each pass starts at the base again: two passes go no further than one.
    data, spec = world(), LightFMSpec(dims=4, proximal=1e6)
    base = started(data, spec)[0]
    for epochs in (1, 2):
        items, _ = trained(data, replace(spec, local_epochs=epochs))
        np.testing.assert_allclose(items.embeddings, base.embeddings, atol=1e-5)


def test_user_alpha_is_scaled_to_its_steps():
    data, spec = world(), LightFMSpec(dims=4, user_alpha=1e-3)
    as_given = trained(data, replace(spec, user_alpha_steps=len(data)))
    scaled = trained(data, replace(spec, user_alpha_steps=4 * len(data)))
    assert content(*as_given) == content(*trained(data, spec))
    assert content(*scaled) == content(*trained(data, replace(spec, user_alpha=4e-3)))
