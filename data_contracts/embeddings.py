"""The embeddings contract: what the merged model must look like before it is committed.

Breach policy: the round fails, the previous model stays, nothing is registered.

The model is profiled item by item and compared with its predecessor on the items and dims that both have.
An item with a value that is not finite breaks `values_finite` alone: the other rules speak of finite rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from data_contracts.outcome import ContractOutcome
from data_contracts.rule import Rule, between, max_between, mean_between, one_of, row_count
from data_contracts.validation import validate
from models.federation.model import GlobalModel, ItemModel
from models.kernel.arrays import FloatArray

Float64Array = npt.NDArray[np.float64]

# Stands for a ratio that has no finite value.
_BEYOND_MEASURE = 1e30


@dataclass(frozen=True)
class EmbeddingLimits:
    """The limits of the embeddings contract. Norms are Euclidean lengths of an item's embedding.

    The defaults are wide: training on MovieLens-100K, by any merge rule and loss, keeps a factor of ten away
    from each of them, which an exploding or emptied model does not.

    Attributes:
        min_norm, max_norm: range of each item's norm.
        min_mean_norm, max_mean_norm: range of the mean norm over items.
        max_bias: largest absolute item bias.
        max_drift: largest relative movement of the whole matrix in one round,
            ||E_t - E_{t-1}||_F / ||E_{t-1}||_F. The first round leaves tiny values, so it is well over 1.
        row_quantile, max_row_drift: this quantile of the distances that items move in one round, and the
            largest value it may have.
        min_coverage: least share of items that have moved, in this round or ever.
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
    """The suite for a merged model after one of `items` rows of `dims` dims."""
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
    """The outcome of holding a merged model against the contract.

    Args:
        model: the merged model.
        previous: the model of the round before.
        limits: the contract's limits.
        subject: what to call it; by default `round-N` of the merged model.

    Returns:
        The outcome; a breach's keys are item rows.

    Raises:
        ContractViolation: an expectation could not be evaluated.
    """
    rules = embedding_rules(*previous.items.shape, previous.catalog_digest, limits)
    profile = profile_embeddings(model, previous, limits.row_quantile)
    return validate("embeddings", subject or f"round-{model.round}", profile, rules, key="row")


def profile_embeddings(model: GlobalModel, previous: GlobalModel, row_quantile: float) -> pd.DataFrame:
    """One row per item of `model`: row, dims, catalog_digest, finite, norm, bias, accumulators_kept, covered,
    and the model's relative_drift and row_drift_quantile, alike in every row.

    Norms and biases are float64, and missing in a row that is not finite. The norm is missing, too, where a
    vector of zeros means that nobody's data spoke of the item, and there is no drift from a model of nothing
    but such items.
    """
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
    """Vectors (items, dims), biases (items, 1) and accumulators (items, n)."""
    return (
        items.vectors.astype(np.float64),
        items.item_biases.astype(np.float64)[:, np.newaxis],
        items.accumulators.astype(np.float64),
    )


def _common(array: Float64Array, old: Float64Array) -> Float64Array:
    """`old` where both have an entry and `array` elsewhere, so that only common entries differ."""
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
    # From nothing, or from a model that was not finite, every movement is beyond measure.
    return min(movement / before, _BEYOND_MEASURE) if np.isfinite(before) and before > 0 else _BEYOND_MEASURE
