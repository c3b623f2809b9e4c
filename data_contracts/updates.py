"""The updates contract, which every client's update must pass before it is merged.

Breach policy: the client is rejected for the round, the reason is recorded, and the round goes on without it.

The updates of a round are profiled one by one as they are read, and validated together, one row each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data_contracts.outcome import Breach, ContractOutcome
from data_contracts.rule import Rule, between, one_of, row_count, unique
from data_contracts.validation import require_no_gaps, validate
from models.errors import ContractViolation
from models.federation.model import ClientUpdate, GlobalModel
from models.kernel.arrays import ArrayGroup
from models.kernel.packed import shapes_of
from models.kernel.ranges import Range

if TYPE_CHECKING:
    import pandas as pd


PROFILE_COLUMNS = (
    "client_id",
    "base_round",
    "base_digest",
    "catalog_digest",
    "n_interactions",
    "interactions_ok",
    "weight_ok",
    "ranges_ok",
    "shape_ok",
    "dtype_ok",
    "finite",
    "accumulators_nonnegative",
    "embedding_norm",
    "bias_norm",
)

_LARGEST_INT = 2**62


@dataclass(frozen=True)
class UpdateLimits:
    """The limits of the updates contract.

    Attributes:
        max_norm: largest norm of an update's arrays with several axes, and of its arrays with one axis, both
            before weighting. On MovieLens-100K the contributions to `adagrad_sum` reach 650. They grow with a
            client's interactions.
        min_interactions: least number of interactions behind an update.
    """

    max_norm: float = 1e5
    min_interactions: int = 1


def profile_update(
    update: ClientUpdate,
    base: GlobalModel,
    base_digest: str,
    form: ArrayGroup | None = None,
    weight_of: Callable[[int], float] = lambda _: 1.0,
    reported: int | None = None,
    ranges: Mapping[str, Range] | None = None,
    noisy: bool = False,
) -> dict[str, object]:
    """Describe an update by one row of plain scalars. It raises no error, whatever the update contains.

    Args:
        update: a client's update.
        base: the model that the update should start from.
        base_digest: SHA-256 of that model's artefact.
        form: arrays of the expected shapes; None if the update contains differences from the base.
        weight_of: returns the weight of a client by its training interactions (`MergeRule.weight_of`).
        reported: number of interactions that the client had when its data were checked; None if unknown.
        ranges: array name -> the range to which the values must be rounded; None if they need not be.
        noisy: whether clients add noise, which makes counts negative.

    Returns:
        A value for each of `PROFILE_COLUMNS`. `embedding_norm` is the norm of the arrays with several axes
        and `bias_norm` of those with one axis, both without the arrays that only grow and before weighting.
        Norms are float64, and infinite if a value is not finite. Whole numbers of a wrong type or size
        become -1.
    """
    contribution, expected = update.contribution, base.items if form is None else form
    group, interactions = contribution.arrays, _int(contribution.interactions)
    weight = weight_of(interactions)
    with np.errstate(all="ignore"):
        arrays = {name: _f64(array) for name, array in group.named()}
        growing = [arrays[name] for name in group.GROWING]
        directional = [arrays[name] for name in group.directional]
        return {
            "client_id": str(update.client_id),
            "base_round": _int(update.base_round),
            "base_digest": str(update.base_digest),
            "catalog_digest": str(update.catalog_digest),
            "n_interactions": interactions,
            "interactions_ok": reported is None or interactions <= reported,
            "weight_ok": contribution.weight == weight,
            "ranges_ok": ranges is None or dict(contribution.ranges) == dict(ranges),
            "shape_ok": shapes_of(group) == shapes_of(expected),
            "dtype_ok": all(array.dtype == np.float32 for _, array in group.named()),
            "finite": all(bool(np.isfinite(array).all()) for array in arrays.values()),
            "accumulators_nonnegative": noisy or not any(bool((array < 0.0).any()) for array in growing),
            "embedding_norm": _norm((array for array in directional if array.ndim > 1), weight),
            "bias_norm": _norm((array for array in directional if array.ndim == 1), weight),
        }


def update_rules(
    base_round: int, base_digest: str, catalog_digest: str, limits: UpdateLimits
) -> tuple[Rule, ...]:
    """Return the suite for updates of the model of `base_round`."""
    return (
        row_count("any_update", 1),
        unique("client_once", "client_id"),
        one_of("base_round_matches", "base_round", [base_round], f"base round {base_round}"),
        one_of("base_digest_matches", "base_digest", [base_digest], f"base model {base_digest[:12]}"),
        one_of(
            "catalog_matches", "catalog_digest", [catalog_digest], f"item catalogue {catalog_digest[:12]}"
        ),
        one_of("weight_matches", "weight_ok", [True], "the weight that the merge rule gives"),
        one_of("ranges_match", "ranges_ok", [True], "values in the steps of the job's ranges"),
        one_of("shape_matches", "shape_ok", [True], "arrays of the base model's shape"),
        one_of("dtype_matches", "dtype_ok", [True], "arrays of float32"),
        one_of("values_finite", "finite", [True], "finite values only"),
        one_of(
            "accumulators_grow",
            "accumulators_nonnegative",
            [True],
            "counts and sums of squares that do not shrink",
        ),
        between(
            "enough_interactions", "n_interactions", limits.min_interactions, None, "an interaction count"
        ),
        one_of(
            "interactions_reported",
            "interactions_ok",
            [True],
            "no more interactions than the client had when its data were checked",
        ),
        between("embedding_norm_in_range", "embedding_norm", 0.0, limits.max_norm, "an embedding norm"),
        between("bias_norm_in_range", "bias_norm", 0.0, limits.max_norm, "a bias norm"),
    )


def check_updates(
    profiles: pd.DataFrame,
    base: GlobalModel,
    base_digest: str,
    limits: UpdateLimits = UpdateLimits(),
    subject: str | None = None,
) -> ContractOutcome:
    """Check all updates of a round against the contract, in one validation.

    Args:
        profiles: one row of `profile_update` per update.
        base: the model that the updates should start from.
        base_digest: SHA-256 of that model's artefact.
        limits: the contract's limits.
        subject: the outcome's subject; by default `round-N` of the model that the round makes.

    Returns:
        The outcome. A breach's keys are all client ids in breach.

    Raises:
        ContractViolation: an expectation could not be evaluated.
    """
    table = profiles[[name for name in PROFILE_COLUMNS if name in profiles.columns]].reset_index(drop=True)
    name = subject or f"round-{base.round + 1}"
    # `profile_update` makes no gaps.
    require_no_gaps("updates", name, table)
    rules = update_rules(base.round, base_digest, base.catalog_digest, limits)
    return validate("updates", name, table, rules, key="client_id", listed=None)


def breaches_of(profile: Mapping[str, object], rules: Iterable[Rule]) -> list[str]:
    """Return what the rules require that a single update does not keep, without Great Expectations.

    A client that nobody else may check checks each of its updates. It could not wait a tenth of a second.
    """
    return [rule.required for rule in rules if rule.columns and not rule.holds(profile[rule.columns[0]])]


def rejected_clients(outcome: ContractOutcome, *, with_values: bool = True) -> dict[str, str]:
    """Return client id -> reason, in one sentence, for each client in breach of the updates contract.

    Args:
        outcome: of the contract.
        with_values: whether reasons say what was found in the client's update.

    Raises:
        ContractViolation: a breach names no client because there was no update, so rejecting clients does
            not help. Check the quorum first.
    """
    reasons: dict[str, list[str]] = {}
    results = outcome.result["results"]
    details = {each["expectation_config"]["meta"]["name"]: each["result"] for each in results}
    for breach in outcome.breaches:
        if not breach.keys:
            raise ContractViolation(
                f"Contract updates for {outcome.subject} is broken as a whole: {breach}.",
                next_step="Find out why no client delivered an update.",
                subject=outcome.subject,
                breach=breach,
            )
        for client_id, text in _reasons(breach, details[breach.expectation], with_values):
            if text not in reasons.setdefault(client_id, []):
                reasons[client_id].append(text)
    return {
        client_id: f"The update breaks its contract, which requires {'; '.join(texts)}."
        for client_id, texts in sorted(reasons.items())
    }


def _reasons(breach: Breach, details: Mapping[str, Any], with_values: bool) -> list[tuple[str, str]]:
    found = []
    for row in details["unexpected_index_list"]:
        value = row.get(breach.column) if with_values else None
        shown = "" if isinstance(value, bool) or value is None else f" (got {value})"
        found.append((str(row["client_id"]), breach.required + shown))
    return found


def _f64(array: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    if array.dtype.kind not in "fiub":
        return np.full(array.shape, np.nan)
    return array.astype(np.float64)


def _norm(arrays: Iterable[npt.NDArray[np.float64]], weight: float) -> float:
    norm = float(np.sqrt(sum(np.square(array).sum() for array in arrays)))
    return _or_inf(norm / weight if weight > 0.0 else norm)


def _or_inf(value: float) -> float:
    return value if np.isfinite(value) else float("inf")


def _int(value: object) -> int:
    is_whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    return int(value) if is_whole and abs(int(value)) <= _LARGEST_INT else -1  # type: ignore[call-overload]
