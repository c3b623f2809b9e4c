"""Traditional collaborative filtering on pooled data; all but popularity come from the library `implicit`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from models.errors import InvalidInput
from tasks.bench.quality.arms import Scores, Trained
from tasks.bench.quality.cases import BenchClient, Learner, pooled

NAMES = ("popularity", "item_knn", "user_knn", "bpr_mf")


@dataclass(frozen=True)
class BaselineSpec:
    """Settings of the baselines.

    Attributes:
        item_neighbours, user_neighbours: number of neighbours that count.
        dims, epochs, learning_rate, regularisation: of BPR matrix factorisation.
    """

    item_neighbours: int = 100
    user_neighbours: int = 100
    dims: int = 32
    epochs: int = 100
    learning_rate: float = 0.05
    regularisation: float = 0.01


def train_baseline(name: str, learners: Mapping[str, Learner], spec: BaselineSpec, seed: int) -> Trained:
    """Train the baseline of this name on the pooled data of all clients.

    popularity: number of users. item_knn, user_knn: cosine neighbours (Sarwar et al. 2001; Resnick et al.
    1994), scores summed over the neighbours. bpr_mf: matrix factorisation with item biases by Bayesian
    personalised ranking (Rendle et al. 2009).

    Raises:
        InvalidInput: `implicit` is not installed.
    """
    everyone = pooled(learners)
    used = everyone.histories.matrix().astype(np.float32)
    if name == "popularity":
        counts = np.asarray(used.sum(axis=0)).ravel()
        return Trained(lambda client: np.tile(counts, (len(client.user_ids), 1)))
    if name == "item_knn":
        near = _neighbours(used, spec.item_neighbours)
        return Trained(lambda client: (client.histories.matrix() @ near).toarray())
    if name == "user_knn":
        near = _neighbours(used.T.tocsr(), spec.user_neighbours)
        return Trained(_by_user((near @ used).toarray(), everyone.user_ids))
    users, items = _bpr(used, spec, seed)
    return Trained(_by_user(users @ items.T, everyone.user_ids))


def _neighbours(rows_by_things: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """Return (things, things), the cosines of each thing with its k nearest other things."""
    _require_implicit()
    from implicit.nearest_neighbours import CosineRecommender

    # The library counts a thing among its own neighbours.
    model = CosineRecommender(K=k + 1, num_threads=1)
    _fit(model, rows_by_things)
    near: sp.lil_matrix = model.similarity.tolil()
    near.setdiag(0.0)
    return sp.csr_matrix(near)


def _bpr(used: sp.csr_matrix, spec: BaselineSpec, seed: int) -> tuple[np.ndarray, np.ndarray]:
    _require_implicit()
    from implicit.bpr import BayesianPersonalizedRanking

    model = BayesianPersonalizedRanking(
        factors=spec.dims,
        learning_rate=spec.learning_rate,
        regularization=spec.regularisation,
        iterations=spec.epochs,
        num_threads=1,  # more threads make the result random
        random_state=seed,
    )
    _fit(model, used)
    return model.user_factors, model.item_factors


def _fit(model: Any, used: sp.csr_matrix) -> None:
    with warnings.catch_warnings():
        # The library warns about matrix layouts, even about those that it makes itself.
        warnings.simplefilter("ignore")
        model.fit(used, show_progress=False)


def _by_user(scores: np.ndarray, user_ids: tuple[str, ...]) -> Scores:
    row_of = {user_id: row for row, user_id in enumerate(user_ids)}

    def of(client: BenchClient) -> np.ndarray:
        return scores[[row_of[user_id] for user_id in client.user_ids]]

    return of


def _require_implicit() -> None:
    try:
        import implicit  # noqa: F401
    except ImportError as error:
        raise InvalidInput(
            "The quality table's neighbours and matrix factorisation need the library 'implicit', which is "
            "not installed.",
            next_step="Install it: pip install 'fedrec[bench]'.",
        ) from error
