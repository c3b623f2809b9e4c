"""A registered round as an MLflow model from code, which `mlflow models serve` and `load_model` run.

This file is copied beside each round's model, so that MLflow can score a version without fedrec. Therefore it
imports nothing of fedrec and reads no pickle. It repeats the scoring of `models.recommenders` in `fold_in`,
`cold_items`, `additive_scorers` and `rating_scorer`. A test checks that both give equal scores. Fedrec itself
never imports it. The names of a model's arrays determine its family. A model that predicts ratings takes the
items of a history as liked, and its scores are the ratings that it then expects.

One row of the input is one query: a `history` of item ids, oldest first, and optionally one weight per item
in `weights` and further item ids to `exclude`. One row of the output is its answer: `item_ids`, `titles` and
`scores`, best first.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import scipy.sparse as sp
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from safetensors.numpy import load

_POPULARITY_POWER = 0.5
_REGULARISATION = 3.0
_FEATURE_REGULARISATION = 10.0
_TURNS = 2
_K = 10


class MlflowScorer(PythonModel):  # type: ignore[misc]  # mlflow is not followed
    """Recommends items for histories. It trains nothing."""

    def load_context(self, context: Any) -> None:
        """Read the artefacts.

        Raises:
            ValueError: the model's SHA-256 differs from the one in the round's record.
        """
        data = Path(context.artifacts["model"]).read_bytes()
        promised = json.loads(Path(context.artifacts["manifest"]).read_bytes())["model_sha256"]
        actual = hashlib.sha256(data).hexdigest()
        if actual != promised:
            raise ValueError(f"The model has SHA-256 {actual}, but its round.json says {promised}.")
        arrays = load(data)
        items = pd.read_parquet(context.artifacts["items"])
        self._ids, self._titles = items["item_id"].to_numpy(), items["title"].to_numpy()
        self._rows = {item_id: row for row, item_id in enumerate(self._ids)}
        self._family = _family(arrays, items["features"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """Return the best `k` items (a parameter, 10 by default) for each history.

        Raises:
            ValueError: an item is unknown, a weight is missing or not positive, or k is less than 1.
        """
        k = int((params or {}).get("k", _K))
        if k < 1:
            raise ValueError(f"The number of recommendations k must be at least 1, got {k}.")
        return pd.DataFrame(
            [
                self._answer(
                    k, _listed(row.get("history")), _listed(row.get("weights")), _listed(row.get("exclude"))
                )
                for row in model_input.to_dict("records")
            ]
        )

    def _answer(
        self, k: int, history: Sequence[str], weights: Sequence[float], exclude: Sequence[str]
    ) -> dict[str, list[Any]]:
        counts: dict[int, float] = {}
        if weights and len(weights) != len(history):
            raise ValueError(f"A history of {len(history)} items has {len(weights)} weights.")
        for item_id, weight in zip(history, weights or [1.0] * len(history), strict=True):
            if not 0.0 < weight < np.inf:
                raise ValueError(f"The weight of item {item_id!r} must be positive and finite, got {weight}.")
            # If an item occurs twice, its weights are added, and its last position counts.
            counts[self._row(item_id)] = counts.pop(self._row(item_id), 0.0) + weight
        rows = list(counts)
        scores = self._family.scores(rows, np.array(list(counts.values())))
        left = np.ones(len(scores), dtype=bool)
        left[[*rows, *(self._row(item_id) for item_id in exclude)]] = False
        candidates = np.flatnonzero(left)
        best = candidates[np.lexsort((candidates, -scores[candidates]))][:k]
        return {
            "item_ids": self._ids[best].tolist(),
            "titles": self._titles[best].tolist(),
            "scores": scores[best].astype(float).tolist(),
        }

    def _row(self, item_id: str) -> int:
        if item_id not in self._rows:
            raise ValueError(f"The model has no item {str(item_id)[:100]!r}.")
        return self._rows[item_id]


class _Family(Protocol):
    def scores(self, rows: list[int], weights: np.ndarray) -> np.ndarray:
        """Return (items,): the scores for a history of these rows, oldest first."""
        ...


def _family(arrays: dict[str, np.ndarray], features: pd.Series) -> _Family:
    if "weights" in arrays:
        return _ItemWeights(arrays, features)
    if "kept_items" in arrays:
        return _Ratings(arrays)
    return _Ials(arrays, features) if "user_step" in arrays else _LightFM(arrays, features)


class _LightFM:
    def __init__(self, arrays: dict[str, np.ndarray], features: pd.Series) -> None:
        # Adagrad's sums begin at 1 and only grow.
        sums = np.column_stack([arrays["embedding_accumulators"], arrays["bias_accumulators"]])
        both = np.column_stack([arrays["embeddings"], arrays["biases"]])
        both = _placed(both, (sums != 1.0).any(axis=1), features)
        self._embeddings, self._biases = np.ascontiguousarray(both[:, :-1]), both[:, -1]
        shares = np.exp(_POPULARITY_POWER * (self._biases.astype(np.float64) - self._biases.max()))
        shares /= shares.sum()
        wide = self._embeddings.astype(np.float64)
        self._mean = shares @ wide
        self._covariance = (wide.T * shares) @ wide - np.outer(self._mean, self._mean)

    def scores(self, rows: list[int], weights: np.ndarray) -> np.ndarray:
        left = weights.sum() * self._covariance + _REGULARISATION * np.eye(len(self._mean))
        user = np.linalg.solve(left, weights @ (self._embeddings[rows] - self._mean))
        found: np.ndarray = self._embeddings @ user.astype(self._embeddings.dtype) + self._biases
        return found


class _Ials:
    def __init__(self, arrays: dict[str, np.ndarray], features: pd.Series) -> None:
        self._items, self._popularity = arrays["embeddings"], arrays["popularity"]
        self._unobserved, self._regularisation, self._exponent = arrays["user_step"].tolist()
        wide = self._items.astype(np.float64)
        self._everything = self._unobserved * (wide.T @ wide)
        self._items = _placed(self._items, np.asarray(self._items.any(axis=1)), features)

    def scores(self, rows: list[int], weights: np.ndarray) -> np.ndarray:
        if not rows:
            return self._popularity
        own = self._items[rows].astype(np.float64)
        weight = weights.sum() + self._unobserved * len(self._items)
        ridge = self._regularisation * weight**self._exponent * np.eye(own.shape[1])
        user = np.linalg.solve((own.T * weights) @ own + self._everything + ridge, own.T @ weights)
        found: np.ndarray = self._items @ user.astype(self._items.dtype)
        return found


class _ItemWeights:
    def __init__(self, arrays: dict[str, np.ndarray], features: pd.Series) -> None:
        weights, self._popularity = arrays["weights"], arrays["popularity"]
        known = np.asarray(weights.any(axis=(0, 1)))
        self._weights = [np.ascontiguousarray(_placed(own.T, known, features).T) for own in weights]
        self._forgetting = arrays["forgetting"].tolist()

    def scores(self, rows: list[int], weights: np.ndarray) -> np.ndarray:
        if not rows:
            return self._popularity
        places_back = np.arange(len(rows), 0, -1.0)
        found = np.zeros(len(self._popularity))
        for own, forgetting in zip(self._weights, self._forgetting, strict=True):
            found += (weights * places_back**-forgetting) @ own[rows]
        return found


class _Ratings:
    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        draws = min(int(arrays["kept"][0]), len(arrays["kept_noise"]))

        def drawn(name: str) -> np.ndarray:
            found = arrays[f"kept_{name}"][:draws] if draws else arrays[name][np.newaxis]
            wide: np.ndarray = found.astype(np.float64)
            return wide

        low, self._high = arrays["scale"].tolist()
        self._unit, self._mean = (self._high - low) / 4, float(arrays["mean"][0])
        items = drawn("items")
        self._biases, self._loadings = items[:, :, 0].copy(), items
        self._loadings[:, :, 0] = 1.0
        self._precisions = drawn("noise").reshape(-1, 1) * drawn("item_noise")
        self._coefficients, self._prior = drawn("user_coefficients"), drawn("user_precision")
        self._freedom = float(arrays["noise_freedom"][0])
        self._strengths = arrays["direction_strengths"][: len(arrays["user_ridge"]) - 2].astype(np.float64)
        self._directions = arrays["direction_items"][:, : len(self._strengths)].astype(np.float64)
        self._counts = arrays["item_ratings"].astype(np.float64)
        self._users = max(float(arrays["users"][0]), 1.0)

    def scores(self, rows: list[int], weights: np.ndarray) -> np.ndarray:
        loadings, precisions = self._loadings[:, rows], weights * self._precisions[:, rows]
        residuals = (self._high - self._mean) / self._unit - self._biases[:, rows]
        prior = np.einsum("dfg,dg->df", self._prior, self._features(rows) @ self._coefficients)
        noise = np.ones(len(loadings))
        for turn in range(_TURNS + 1):
            weighted = loadings * (noise[:, np.newaxis] * precisions)[..., np.newaxis]
            covariances = np.linalg.inv(self._prior + np.einsum("dhf,dhg->dfg", weighted, loadings))
            said = prior + np.einsum("dhf,dh->df", weighted, residuals)
            user = np.einsum("dfg,dg->df", covariances, said)
            if turn < _TURNS:
                errors = residuals - np.einsum("dhf,df->dh", loadings, user)
                squares = errors**2 + np.einsum("dhf,dfg,dhg->dh", loadings, covariances, loadings)
                noise = (self._freedom + weights.sum()) / (self._freedom + (precisions * squares).sum(axis=1))
        expected = self._biases.mean(axis=0) + np.einsum("dnf,df->n", self._loadings, user) / len(user)
        found: np.ndarray = self._mean + self._unit * expected
        return found

    def _features(self, rows: list[int]) -> np.ndarray:
        roots = np.sqrt(np.maximum(self._counts[rows], 1.0))[:, np.newaxis]
        places = (self._directions[rows] / roots).sum(axis=0) / np.sqrt(max(len(rows), 1))
        is_found = self._strengths > 0.0
        places = np.divide(places, self._strengths, out=np.zeros_like(places), where=is_found)
        usual = np.log1p(self._counts.sum() / self._users)
        return np.concatenate([[1.0], places * np.sqrt(self._users), [np.log1p(len(rows)) - usual]])


def _placed(values: np.ndarray, trained: np.ndarray, features: pd.Series) -> np.ndarray:
    """Return values (items, n) in which the rows of untrained items are predicted from their features.

    Args:
        values: (items, n); the rows of untrained items are ignored.
        trained: (items,) whether an item was trained.
        features: for each item, the numbers of its features.
    """
    if trained.all() or not trained.any():
        return values
    starts = np.concatenate([[0], np.cumsum([len(each) for each in features])])
    columns = np.concatenate([np.empty(0, dtype=np.int64), *features]).astype(np.int64)
    n_features = int(columns.max(initial=-1)) + 1
    matrix = sp.csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(features), n_features))
    known = values[trained].astype(np.float64)
    mean, seen = known.mean(axis=0), matrix[np.flatnonzero(trained)]
    left = (seen.T @ seen).toarray() + _FEATURE_REGULARISATION * np.eye(n_features)
    placed = values.copy()
    weights = np.linalg.solve(left, seen.T @ (known - mean))
    placed[~trained] = mean + matrix[np.flatnonzero(~trained)] @ weights
    return placed


def _listed(cell: Any) -> list[Any]:
    """Return an array as a list; empty if the optional column or its value is missing."""
    return [] if cell is None or np.ndim(cell) == 0 else list(cell)


set_model(MlflowScorer())
