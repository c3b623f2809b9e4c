"""The noise that a client adds to all that leaves it, if the job promises its users privacy."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from models.errors import EgressRefused
from models.federation.contribution import Contribution
from models.kernel.metric import Metric
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised, noised_metrics
from tasks.privacy.noise_key import noise_key

# A model is evaluated on validation cases, and once more on test cases.
_EVALUATIONS = 2
# The rounding of figures to whole steps adds less than this share to what a user changes.
_ROUNDING = 2.0**-15


def noisy_contribution(
    contribution: Contribution[Any],
    unit_noise: Mapping[str, float] | None,
    noise: NoisePlan,
    folder: Path,
    scope: tuple[str, ...],
) -> Contribution[Any]:
    """Return what leaves a client in a round: its contribution with noise, and no counts.

    Args:
        contribution: rounded to its ranges.
        unit_noise: of the family in this round (`Family.unit_noise`).
        noise: of the job.
        folder: the client's private folder, which contains its key.
        scope: job and round.

    Raises:
        EgressRefused: the family bounds no user's part, so no noise would hide it.
    """
    if unit_noise is None:
        raise EgressRefused(
            "The job promises privacy, but nothing bounds a user's part in what its family sends.",
            next_step="Train a family that can be private, such as dp_items.",
        )
    return noised(contribution, noise.client_deviations(unit_noise), noise_key(folder), scope)


def noisy_figures(
    metrics: Mapping[str, Metric],
    names: Collection[str],
    noise: NoisePlan,
    folder: Path,
    scope: tuple[str, ...],
) -> dict[str, Metric]:
    """Return a client's sums over its cases with noise.

    A user has one case, whose value of each metric is from 0 to 1, and which counts once in its weight. So a
    user changes 2 n numbers of n metrics by at most 1 each.

    Args:
        metrics: of the evaluation.
        names: of all its metrics, whether or not the client has cases.
        noise: of the job.
        folder: the client's private folder, which contains its key.
        scope: job, round and step.

    Raises:
        InvalidConfig: the job's evaluations get no share of the noise.
    """
    none = Metric(0.0, 0.0)
    sensitivity = math.sqrt(2.0 * len(names)) * (1.0 + _ROUNDING)
    deviation = noise.figures_deviation(sensitivity * math.sqrt(_EVALUATIONS))
    return noised_metrics(
        {name: metrics.get(name, none) for name in names}, deviation, noise_key(folder), scope
    )
