"""A registered round as an MLflow model from code: what `mlflow models serve` and `load_model` run.

This file is copied beside each round's model, so that a version answers wherever MLflow does. It therefore
stands alone: it imports nothing of fedrec and reads no pickle, and repeats what `models.recommenders` does in
`fold_in`, `cold_items` and `additive_scorers`, to which a test holds it equal. It is never imported by fedrec
itself. Of which family a model is, the names of its arrays say.

One row of the input is one question: a `history` of item ids, the oldest first, and where wanted as many
`weights` and further ids to `exclude`. One row of the output is its answer: `item_ids`, `titles` and
`scores`, the best first.
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
_K = 10


class HistoryScorer(PythonModel):  # type: ignore[misc]  # mlflow is not followed
    """Answers histories; nothing is trained."""

    def load_context(self, context: Any) -> None:
        """The artefacts are read.

        Raises:
            ValueError: the model is not the one that the round's manifest promises.
        """
        data = Path(context.artifacts["model"]).read_bytes()
        promised = json.loads(Path(context.artifacts["manifest"]).read_bytes())["model_sha256"]
        actual = hashlib.sha256(data).hexdigest()
        if actual != promised:
            raise ValueError(f"The model has SHA-256 {actual}, but its round.json promises {promised}.")
        arrays = load(data)
        items = pd.read_parquet(context.artifacts["items"])
        self._ids, self._titles = items["item_id"].to_numpy(), items["title"].to_numpy()
        self._rows = {item_id: row for row, item_id in enumerate(self._ids)}
        self._family = _family(arrays, items["features"])

    def predict(
        self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None
    ) -> pd.DataFrame:
        """The best `k` (a parameter, 10 by default) items for each history.

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
            # Of an item named twice the weights add up, and its latest place counts.
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
            raise ValueError(f"The model knows no item {str(item_id)[:100]!r}.")
        return self._rows[item_id]


class _Family(Protocol):
    def scores(self, rows: list[int], weights: np.ndarray) -> np.ndarray:
        """(items,): the scores for a history of these rows, the oldest first."""
        ...


def _family(arrays: dict[str, np.ndarray], features: pd.Series) -> _Family:
    if "weights" in arrays:
        return _ItemWeights(arrays)
    return _Ials(arrays) if "user_step" in arrays else _LightFM(arrays, features)


class _LightFM:
    def __init__(self, arrays: dict[str, np.ndarray], features: pd.Series) -> None:
        self._embeddings, self._biases = _placed(arrays, features)
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
    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._items, self._popularity = arrays["embeddings"], arrays["popularity"]
        self._unobserved, self._regularisation, self._exponent = arrays["user_step"].tolist()
        wide = self._items.astype(np.float64)
        self._everything = self._unobserved * (wide.T @ wide)

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
    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self._weights, self._popularity = arrays["weights"], arrays["popularity"]
        self._forgetting = arrays["forgetting"].tolist()

    def scores(self, rows: list[int], weights: np.ndarray) -> np.ndarray:
        if not rows:
            return self._popularity
        places_back = np.arange(len(rows), 0, -1.0)
        found = np.zeros(len(self._popularity))
        for own, forgetting in zip(self._weights, self._forgetting, strict=True):
            found += (weights * places_back**-forgetting) @ own[rows]
        return found


def _placed(arrays: dict[str, np.ndarray], features: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings and biases in which items that nobody trained on lie where their features say.

    Args:
        arrays: of the model; Adagrad's sums begin at 1 and only grow.
        features: for each item the numbers of its features.
    """
    embeddings, biases = arrays["embeddings"], arrays["biases"]
    trained = (arrays["embedding_accumulators"] != 1.0).any(axis=1) | (arrays["bias_accumulators"] != 1.0)
    if trained.all() or not trained.any():
        return embeddings, biases
    starts = np.concatenate([[0], np.cumsum([len(each) for each in features])])
    columns = np.concatenate([np.empty(0, dtype=np.int64), *features]).astype(np.int64)
    n_features = int(columns.max(initial=-1)) + 1
    matrix = sp.csr_matrix((np.ones(len(columns)), columns, starts), shape=(len(features), n_features))
    known = np.column_stack([embeddings, biases])[trained].astype(np.float64)
    mean, seen = known.mean(axis=0), matrix[np.flatnonzero(trained)]
    left = (seen.T @ seen).toarray() + _FEATURE_REGULARISATION * np.eye(n_features)
    placed = mean + matrix[np.flatnonzero(~trained)] @ np.linalg.solve(left, seen.T @ (known - mean))
    embeddings, biases = embeddings.copy(), biases.copy()
    embeddings[~trained], biases[~trained] = placed[:, :-1], placed[:, -1]
    return embeddings, biases


def _listed(cell: Any) -> list[Any]:
    """A list, of an array or of nothing: a missing optional column, or a missing value in it."""
    return [] if cell is None or np.ndim(cell) == 0 else list(cell)


set_model(HistoryScorer())
