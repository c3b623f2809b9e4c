"""The embeddings contract, which the merged model must pass before it is committed.

Breach policy: the round fails, the previous model stays, and nothing is registered.

The model is profiled item by item and compared with the previous one on the items and dims that both have. An
item with a value that is not finite breaks only `values_finite`, because the other rules cover finite rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from data_contracts.outcome import ContractOutcome
from data_contracts.rule import Rule, between, max_between, mean_between, one_of, row_count
from data_contracts.validation import validate
from models.federation.model import GlobalModel, ItemModel
from models.kernel.arrays import FloatArray

if TYPE_CHECKING:
    import pandas as pd


Float64Array = npt.NDArray[np.float64]

# Replaces a ratio that has no finite value.
_BEYOND_MEASURE = 1e30


@dataclass(frozen=True)
class EmbeddingLimits:
    """The limits of the embeddings contract. Norms are Euclidean lengths of an item's embedding.

    The defaults are wide. Training on MovieLens-100K, with any merge rule and loss, stays a factor of ten
    away from each of them. An exploding or emptied model does not.

    Attributes:
        min_norm, max_norm: range of each item's norm.
        min_mean_norm, max_mean_norm: range of the mean norm over items.
        max_bias: largest absolute item bias.
        max_drift: largest relative movement of the whole matrix in one round,
            ||E_t - E_{t-1}||_F / ||E_{t-1}||_F. The first round starts from tiny values, so its drift is well
            over 1.
        row_quantile, max_row_drift: a quantile of the distances that items move in one round, and its largest
            allowed value.
        min_coverage: least share of items that have moved in this or an earlier round.
    """

    min_norm: float = 1e-6
    max_norm: float = 200.0
    min_mean_norm: float = 1e-3
    max_mean_norm: float = 50.0
    max_bias: float = 200.0
    max_drift: float = 1000.0
    row_quantile: float = 0.99
    max_row_drift: float = 100.0
    min_coverage: float = 0.01


def embedding_rules(items: int, dims: int, catalog_digest: str, limits: EmbeddingLimits) -> tuple[Rule, ...]:
    """Return the suite for a merged model whose previous model has `items` rows of `dims` dims."""
    quantile = f"a {limits.row_quantile:g} quantile of the items' movements"
    return (
        row_count("row_count_matches", items, items),
        one_of("dims_match", "dims", [dims], f"embeddings of {dims} dims"),
        one_of(
            "catalog_matches", "catalog_digest", [catalog_digest], f"item catalogue {catalog_digest[:12]}"
        ),
        one_of("values_finite", "finite", [True], "finite values only"),
        between("norm_in_range", "norm", limits.min_norm, limits.max_norm, "an item's norm"),
        mean_between("mean_norm_in_range", "norm", limits.min_mean_norm, limits.max_mean_norm, "a mean norm"),
        between("bias_in_range", "bias", -limits.max_bias, limits.max_bias, "an item's bias"),
        one_of(
            "accumulators_grow",
            "accumulators_kept",
            [True],
            "sums of squared gradients no less than before",
        ),
        max_between("drift_in_range", "relative_drift", None, limits.max_drift, "a relative drift"),
        max_between("row_drift_in_range", "row_drift_quantile", None, limits.max_row_drift, quantile),
        mean_between("coverage_in_range", "covered", limits.min_coverage, None, "a share of moved items"),
    )


def check_embeddings(
    model: GlobalModel,
    previous: GlobalModel,
    limits: EmbeddingLimits = EmbeddingLimits(),
    subject: str | None = None,
) -> ContractOutcome:
    """Check a merged model against the contract.

    Args:
        model: the merged model.
        previous: the model of the previous round.
        limits: the contract's limits.
        subject: the outcome's subject; by default `round-N` of the merged model.

    Returns:
        The outcome. A breach's keys are item rows.

    Raises:
        ContractViolation: an expectation could not be evaluated.
    """
    rules = embedding_rules(*previous.items.shape, previous.catalog_digest, limits)
    profile = profile_embeddings(model, previous, limits.row_quantile)
    return validate("embeddings", subject or f"round-{model.round}", profile, rules, key="row")


def profile_embeddings(model: GlobalModel, previous: GlobalModel, row_quantile: float) -> pd.DataFrame:
    """Profile a merged model, one row per item.

    The columns are row, dims, catalog_digest, finite, norm, bias, accumulators_kept, covered, and the model's
    relative_drift and row_drift_quantile, which are equal in all rows.

    Norms and biases are float64. They are missing in a row that is not finite. The norm is also missing if a
    vector of zeros means that no client's data contain the item. If all items of the previous model are such
    items, the relative drift is 0.
    """
    import pandas as pd

    items, dims = model.items.shape
    with np.errstate(all="ignore"):
        new = _sides(model.items)
        old = [_common(array, before) for array, before in zip(new, _sides(previous.items), strict=True)]
        vectors, biases, accumulators = new
        finite = np.isfinite(np.column_stack(new)).all(axis=1)
        moved = np.where(finite, _norms(vectors - old[0]), 0.0)
        norms = _norms(vectors)
        known = finite & ~((norms == 0.0) & model.items.ZERO_IS_UNTRAINED)
        before = _frobenius(_norms(old[0]))
        first = before == 0.0 and model.items.ZERO_IS_UNTRAINED
        touched = model.items.trained | (vectors != old[0]).any(axis=1) | (biases != old[1]).any(axis=1)
        profile = {
            "row": np.arange(items),
            "dims": dims,
            "catalog_digest": model.catalog_digest,
            "finite": finite,
            "norm": np.where(known, norms, np.nan),
            "bias": np.where(finite, biases[:, 0], np.nan),
            "accumulators_kept": ~((accumulators < old[2]).any(axis=1) & finite),
            "relative_drift": 0.0 if first else _ratio(_frobenius(moved), before),
            "row_drift_quantile": float(np.quantile(moved, row_quantile)) if items else 0.0,
            "covered": (touched & finite).astype(np.float64),
        }
    return pd.DataFrame(profile)


def _sides(items: ItemModel) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return vectors (items, dims), biases (items, 1) and accumulators (items, n)."""
    return (
        items.vectors.astype(np.float64),
        items.item_biases.astype(np.float64)[:, np.newaxis],
        items.accumulators.astype(np.float64),
    )


def _common(array: Float64Array, old: Float64Array) -> Float64Array:
    """Return `array` with the entries of `old` where both have one, so only common entries can differ."""
    shared = tuple(slice(0, min(sizes)) for sizes in zip(array.shape, old.shape, strict=True))
    result = array.copy()
    result[shared] = old[shared]
    return result


def _norms(rows: FloatArray) -> npt.NDArray[np.float64]:
    norms: npt.NDArray[np.float64] = np.sqrt(np.square(rows, dtype=np.float64).sum(axis=1))
    return norms


def _frobenius(norms: npt.NDArray[np.float64]) -> float:
    return float(np.sqrt(np.square(norms).sum()))


def _ratio(movement: float, before: float) -> float:
    if movement == 0.0:
        return 0.0
    # The ratio is not finite if the previous model was zero or not finite.
    return min(movement / before, _BEYOND_MEASURE) if np.isfinite(before) and before > 0 else _BEYOND_MEASURE
