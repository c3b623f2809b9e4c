"""LightFM's training on fedrec's own arrays. Only this file knows how LightFM stores its state.

LightFM (Kula 2015) trains in place on eight arrays: embeddings, biases and the Adagrad accumulators of both,
for items and for users. Its class hides them behind `fit_partial`, which always runs a whole epoch and takes
the given interactions as the set of known positives. A federated round starts from given item arrays.
If there are several merges per epoch, it trains a part of an epoch whose negatives still avoid *all* training
positives. So this file calls LightFM's compiled epoch functions. A test checks that both give equal results.

BPR is the exception: LightFM draws its negatives from the items of the given interactions only, so one user
alone would have none. Here every loss draws them from the whole catalogue (`examples.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from lightfm import LightFM
from lightfm._lightfm_fast import CSRMatrix, FastLightFM, fit_bpr, fit_logistic, fit_warp, fit_warp_kos

from models.errors import DivergedUpdate
from models.federation.model import ItemArrays
from models.kernel.arrays import FloatArray
from models.kernel.seeds import generator_for, seed_for
from models.kernel.settings import defaults_of
from models.recommenders.base.training_set import TrainingSet
from models.recommenders.base.users import UserArrays
from models.recommenders.lightfm.examples import Examples, among_the_catalogue, with_negatives
from models.recommenders.lightfm.spec import OF_ROUNDS, LightFMSpec, cooled_down

# LightFM's own defaults for Adadelta, which is not used here but is part of its state.
_RHO, _EPSILON = 0.95, 1e-6


def initial_items(n_items: int, dims: int, seed: int) -> ItemArrays:
    """Return item arrays (float32) as LightFM initialises them: embeddings uniform in +-0.5/dims."""
    drawn = generator_for(seed, "items").random((n_items, dims))
    return ItemArrays(
        embeddings=((drawn - 0.5) / dims).astype(np.float32),
        biases=np.zeros(n_items, dtype=np.float32),
        embedding_accumulators=np.ones(n_items, dtype=np.float32),
        bias_accumulators=np.ones(n_items, dtype=np.float32),
    )


def initial_users(n_users: int, dims: int, seed: int, client_id: str) -> UserArrays:
    """Return user arrays (float32) of a client that has not trained yet, initialised like the items."""
    drawn = generator_for(seed, "users", client_id).random((n_users, dims))
    return UserArrays(
        embeddings=((drawn - 0.5) / dims).astype(np.float32),
        biases=np.zeros(n_users, dtype=np.float32),
        embedding_accumulators=np.ones((n_users, dims), dtype=np.float32),
        bias_accumulators=np.ones(n_users, dtype=np.float32),
    )


def train_round(
    items: ItemArrays,
    users: UserArrays,
    data: TrainingSet,
    spec: LightFMSpec,
    *,
    seed: int,
    round_: int,
    client_id: str,
) -> tuple[ItemArrays, UserArrays]:
    """Return the item and user arrays after one round of local training; the inputs stay as they are.

    Rounds go through local epochs, part by part (`LightFMSpec.part_of`). The order of an epoch depends on
    seed, client and epoch alone. With `spec.local_epochs` above 1 a round repeats its part, each time in
    another order.

    After each pass the items w are pulled towards the round's base w0 by the proximal step of
    mu/2 ||w - w0||^2, which is (w + mu w0) / (1 + mu) with mu = `spec.proximal`. FedProx (Li et al. 2020,
    eq. 2) adds that term to the loss; LightFM's compiled loop accepts no further term, so the proximal step
    between passes is the usual splitting. Accumulators and users are never pulled.

    Raises:
        DivergedUpdate: a trained value is NaN or infinite.
    """
    epoch, part, parts = spec.part_of(round_)
    order = generator_for(seed, "order", client_id, epoch).permutation(len(data))
    chosen = order[part::parts]
    new_items = [np.array(array) for _, array in items.named()]
    new_items[2] = np.repeat(items.embedding_accumulators[:, np.newaxis], spec.dims, axis=1)
    new_users = [
        np.array(array)
        for array in (users.embeddings, users.biases, users.embedding_accumulators, users.bias_accumulators)
    ]
    if len(chosen):
        random_state = np.random.RandomState(
            np.random.MT19937(np.random.SeedSequence(seed_for(seed, "training", client_id, round_)))
        )
        for further in range(spec.local_epochs):
            if further:
                chosen = generator_for(seed, "order", client_id, epoch, further).permutation(chosen)
            _run(new_items, new_users, data, chosen, spec, random_state)
            if spec.proximal:
                _pull(new_items, items, spec.proximal)
    trained = _item_arrays(*new_items), UserArrays(*new_users)
    if not (trained[0].is_finite() and all(np.isfinite(array).all() for array in new_users)):
        raise DivergedUpdate(
            f"Client {client_id!r} has values that are not finite after training in round {round_}.",
            next_step="Lower train.learning_rate, or set item_alpha and user_alpha above 0.",
            client_id=client_id,
            round=round_,
        )
    return trained


class PooledTraining:
    """LightFM on one data set, without a federation. It can be evaluated between epochs.

    It is plain `LightFM.fit`. With BPR it is the rounds of a single client, because LightFM's own BPR never
    moves an item that nobody used.

    Args:
        data: the training positives.
        spec: the settings. Those of rounds are ignored.
        epochs: the total number of epochs.
        seed: seed of all randomness.
        client_id: the client of the data, because each client starts with other values.
    """

    def __init__(
        self, data: TrainingSet, spec: LightFMSpec, *, epochs: int, seed: int, client_id: str = "all clients"
    ) -> None:
        self._spec, self._epochs, self._done = spec, epochs, 0
        one_place = _RoundsOfOne if spec.loss == "bpr" else _PlainLightFM
        self._training = one_place(data, spec, seed, client_id)

    def run(self, epochs: int) -> tuple[ItemArrays, UserArrays]:
        """Return the item and user arrays after `epochs` further epochs."""
        spec = self._spec
        for _ in range(epochs):
            self._training.run(
                cooled_down(spec.learning_rate, spec.cooldown_share, self._done / self._epochs)
            )
            self._done += 1
        return self._training.arrays


class _PlainLightFM:
    """LightFM's own class, trained epoch by epoch."""

    def __init__(self, data: TrainingSet, spec: LightFMSpec, seed: int, client_id: str) -> None:
        self._model = LightFM(
            no_components=spec.dims,
            loss=spec.loss,
            learning_rate=spec.learning_rate,
            item_alpha=spec.item_alpha,
            user_alpha=spec.user_alpha,
            max_sampled=_max_sampled(spec, data.shape[1]),
            k=spec.kos_k,
            n=spec.kos_n,
            random_state=seed_for(seed, "alone", client_id) % 2**32,
        )
        self._matrix = data.positives.tocoo()
        if spec.loss == "logistic":
            self._matrix = with_negatives(
                data, np.arange(len(data)), generator_for(seed, "negatives", client_id)
            )

    def run(self, learning_rate: float) -> None:
        """Train one epoch."""
        self._model.learning_rate = learning_rate
        self._model.fit_partial(self._matrix, epochs=1, num_threads=1)

    @property
    def arrays(self) -> tuple[ItemArrays, UserArrays]:
        """Return the item and user arrays."""
        model = self._model
        return (
            _item_arrays(
                model.item_embeddings.copy(),
                model.item_biases.copy(),
                model.item_embedding_gradients.copy(),
                model.item_bias_gradients.copy(),
            ),
            UserArrays(
                model.user_embeddings.copy(),
                model.user_biases.copy(),
                model.user_embedding_gradients.copy(),
                model.user_bias_gradients.copy(),
            ),
        )


class _RoundsOfOne:
    """The rounds of a single client, of one epoch each."""

    def __init__(self, data: TrainingSet, spec: LightFMSpec, seed: int, client_id: str) -> None:
        defaults = defaults_of(LightFMSpec)
        self._spec = replace(spec, **{name: defaults[name] for name in OF_ROUNDS})
        self._data, self._seed, self._client_id, self._round = data, seed, client_id, 0
        self.arrays = (
            initial_items(data.shape[1], spec.dims, seed),
            initial_users(data.shape[0], spec.dims, seed, client_id),
        )

    def run(self, learning_rate: float) -> None:
        """Train one epoch."""
        self._round += 1
        self.arrays = train_round(
            *self.arrays,
            self._data,
            replace(self._spec, learning_rate=learning_rate),
            seed=self._seed,
            round_=self._round,
            client_id=self._client_id,
        )


def train_alone(
    data: TrainingSet, spec: LightFMSpec, *, epochs: int, seed: int, client_id: str
) -> tuple[ItemArrays, UserArrays]:
    """Return the arrays of `PooledTraining` on these data alone, the baseline without a federation."""
    return PooledTraining(data, spec, epochs=epochs, seed=seed, client_id=client_id).run(epochs)


def _run(
    items: list[FloatArray],
    users: list[FloatArray],
    data: TrainingSet,
    chosen: npt.NDArray[np.int64],
    spec: LightFMSpec,
    random_state: np.random.RandomState,
) -> None:
    """Train `items` and `users` in place on the chosen positives, in the order given."""
    n_users, n_items = data.shape
    item_features, user_features = _identity(n_items), _identity(n_users)
    positives = CSRMatrix(data.positives)
    state = FastLightFM(
        *_with_momentum(items),
        *_with_momentum(users),
        spec.dims,
        0,  # Adagrad, not Adadelta
        spec.learning_rate,
        _RHO,
        _EPSILON,
        _max_sampled(spec, n_items),
    )
    steps = spec.user_alpha_steps or len(data)
    rates = (spec.learning_rate, spec.item_alpha, spec.user_alpha * steps / len(data))
    rows, columns = data.users[chosen], data.items[chosen]
    if spec.loss == "logistic":
        labelled = with_negatives(data, chosen, random_state)
        rows, columns, labels = labelled.row, labelled.col, labelled.data
        order = random_state.permutation(len(rows)).astype(np.int32)
        fit_logistic(
            item_features,
            user_features,
            rows,
            columns,
            labels,
            np.ones_like(labels),
            order,
            state,
            *rates,
            1,
        )
        return
    # The positives are already in random order, so LightFM's shuffle is the identity.
    if spec.loss == "warp-kos":
        fit_warp_kos(
            item_features,
            user_features,
            positives,
            rows,
            np.arange(len(rows), dtype=np.int32),
            state,
            *rates,
            spec.kos_k,
            spec.kos_n,
            1,
            random_state,
        )
        return
    fit = {"warp": fit_warp, "bpr": fit_bpr}[spec.loss]
    parts: Iterable[Examples] = [(rows, columns, np.ones(len(rows), dtype=np.float32))]
    if spec.loss == "bpr":
        parts = among_the_catalogue(data, chosen)
    for rows, columns, labels in parts:
        fit(
            item_features,
            user_features,
            positives,
            rows,
            columns,
            labels,
            labels,
            np.arange(len(labels), dtype=np.int32),
            state,
            *rates,
            1,
            random_state,
        )


def _pull(items: list[FloatArray], base: ItemArrays, proximal: float) -> None:
    """Move the parameters among `items` towards `base`, in place."""
    share = np.float32(proximal / (1.0 + proximal))
    items[0] += (base.embeddings - items[0]) * share
    items[1] += (base.biases - items[1]) * share


def _item_arrays(
    embeddings: FloatArray,
    biases: FloatArray,
    embedding_accumulators: FloatArray,
    bias_accumulators: FloatArray,
) -> ItemArrays:
    """Return LightFM's arrays of the items, with the mean of each embedding's accumulators (items, dims)."""
    means = embedding_accumulators.mean(axis=1, dtype=np.float64).astype(np.float32)
    return ItemArrays(embeddings, biases, means, bias_accumulators)


# LightFM only reads it. For clients of one user, building it takes longer than their training.
@lru_cache(maxsize=256)
def _identity(n: int) -> CSRMatrix:
    """Return the identity matrix: each of the n rows has itself as its only feature."""
    return CSRMatrix(sp.identity(n, dtype=np.float32, format="csr"))


def _max_sampled(spec: LightFMSpec, n_items: int) -> int:
    # WARP k-OS weighs a negative found at draw s by log(floor((items - 1) / s)): minus infinity for late ones
    return max(1, min(spec.max_sampled, n_items - 1)) if spec.loss == "warp-kos" else spec.max_sampled


def _with_momentum(arrays: list[FloatArray]) -> tuple[FloatArray, ...]:
    """Return LightFM's six arrays of one side, given fedrec's four. Adagrad never changes the momentum."""
    embeddings, biases, embedding_accumulators, bias_accumulators = arrays
    unused = np.zeros_like(embeddings), np.zeros_like(biases)
    return embeddings, embedding_accumulators, unused[0], biases, bias_accumulators, unused[1]
