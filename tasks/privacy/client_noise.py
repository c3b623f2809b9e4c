"""The noise that a client adds to all that leaves it, if the job promises its users privacy."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from models.errors import EgressRefused
from models.federation.contribution import Contribution
from models.kernel.metric import Metric
from models.kernel.ranges import Range
from models.privacy.figure_noise import figures_deviation
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised, noised_metrics
from tasks.privacy.noise_key import noise_key


def noisy_contribution(
    contribution: Contribution[Any],
    unit_noise: Mapping[str, float] | None,
    noise: NoisePlan,
    folder: Path,
    scope: tuple[str, ...],
    own_ranges: Mapping[str, Range] = MappingProxyType({}),
) -> Contribution[Any]:
    """Return what leaves a client in a round: its contribution with noise, and no counts.

    Args:
        contribution: rounded to its ranges.
        unit_noise: of the family in this round (`Family.unit_noise`).
        noise: of the job.
        folder: the client's private folder, which contains its key.
        scope: job, client and round.
        own_ranges: array name -> the family's range. Its step is that of users' parts.

    Raises:
        EgressRefused: the family bounds no user's part, so no noise would hide it, or the job's steps are
            coarser than the family's, so that rounding made a user's part longer. Or the key is another one
            than before in the job.
    """
    if unit_noise is None:
        raise EgressRefused(
            "The job promises privacy, but nothing bounds a user's part in what its family sends.",
            next_step="Train a family that can be private, such as dp_items.",
        )
    for name, range_ in contribution.ranges.items():
        if name in own_ranges and range_.step > own_ranges[name].step:
            raise EgressRefused(
                f"The job rounds {name!r} to steps of {range_.step:g}, and users' parts are whole numbers of "
                f"{own_ranges[name].step:g}. Rounded to coarser steps, one user may change more than the "
                "noise hides.",
                next_step=f"Leave fixed_point.{name} out of the job's configuration, or choose a finer step.",
            )
    return noised(contribution, noise.client_deviations(unit_noise), noise_key(folder, scope[0]), scope)


def noisy_figures(
    metrics: Mapping[str, Metric],
    names: Collection[str],
    noise: NoisePlan,
    folder: Path,
    scope: tuple[str, ...],
) -> dict[str, Metric]:
    """Return a client's sums over its cases with noise.

    Args:
        metrics: of the evaluation.
        names: of all its metrics, whether or not the client has cases.
        noise: of the job.
        folder: the client's private folder, which contains its key.
        scope: job, client, round and step.

    Raises:
        InvalidConfig: the job's evaluations get no share of the noise.
        EgressRefused: the key is another one than before in the job.
    """
    none = Metric(0.0, 0.0)
    found = {name: metrics.get(name, none) for name in names}
    return noised_metrics(found, figures_deviation(noise, len(found)), noise_key(folder, scope[0]), scope)
