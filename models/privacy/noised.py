"""Contributions and metrics with the noise of differential privacy, in whole numbers of public steps."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from models.errors import InvalidInput
from models.federation.contribution import Contribution
from models.federation.fixed_point import METRIC_STEP
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.metric import Metric
from models.kernel.packed import whole
from models.kernel.ranges import Range
from models.privacy.discrete_gaussian import draw
from models.privacy.secret_stream import SecretStream
from models.secure_sum.primitives.canonical import digest

Arrays = TypeVar("Arrays", bound=ArrayGroup)


def noised(
    contribution: Contribution[Arrays], deviations: Mapping[str, float], key: bytes, scope: Sequence[str]
) -> Contribution[Arrays]:
    """Return the contribution with noise in all values of its arrays, also those of zeros, and nothing else.

    Values outside their ranges are clipped and not counted. Interactions and metrics are left out, because
    they have no noise.

    The noise depends on everything that is released. So a repeated call returns equal bytes and costs nothing
    more, and two contributions never have the same noise, which their difference would not have.

    Args:
        contribution: rounded to its ranges (`fixed_point.rounded`), of weight 1.
        deviations: array name -> standard deviation of its noise, in the array's units, for each array.
        key: the client's secret, of 32 random bytes.
        scope: what the noise is for, such as job, client and round. Without the client, two clients with
            one key and equal sums would have equal noise.

    Raises:
        InvalidInput: the contribution is not rounded, its weight is not 1, an array has no deviation, or a
            deviation is out of the range of `discrete_gaussian.draw` in steps.
    """
    if contribution.weight != 1.0:
        raise InvalidInput(
            f"A contribution has the weight {contribution.weight:g}. With privacy it must be 1, because a "
            "weight tells something about a client's users.",
            next_step="Choose a merge rule that weights all clients equally.",
        )
    arrays: Arrays = whole(contribution.arrays)
    names = set(arrays.names())
    if not names == deviations.keys() == contribution.ranges.keys():
        raise InvalidInput(
            f"The arrays {', '.join(sorted(names))} need ranges and noise, got ranges for "
            f"{', '.join(sorted(contribution.ranges)) or 'none'} and noise for "
            f"{', '.join(sorted(deviations)) or 'none'}."
        )
    ranges = contribution.ranges
    released = digest([_facts(name, array, ranges[name], deviations[name]) for name, array in arrays.named()])
    values = {
        name: _noised(
            array, ranges[name], deviations[name], SecretStream(key, "array", *scope, name, released)
        )
        for name, array in arrays.named()
    }
    return replace(contribution, arrays=type(arrays)(**values), interactions=0, metrics={})


def noised_metrics(
    metrics: Mapping[str, Metric], deviation: float, key: bytes, scope: Sequence[str]
) -> dict[str, Metric]:
    """Return the metrics with noise in all totals and in their weight, in whole numbers of `METRIC_STEP`.

    All metrics of an evaluation count the same cases, so they have one weight, and its noise is drawn once.
    The metrics are rounded first, which adds up to one step to what a user changes. With noise, totals and
    the weight may be negative. They are not clipped, because a sum of clipped values would be too large.

    Args:
        metrics: of one client, of equal weights. Which names there are must not depend on users.
        deviation: standard deviation of the noise of each total and of the weight.
        key: the client's secret, of 32 random bytes.
        scope: what the noise is for, such as job, client, round and split.

    Raises:
        InvalidInput: the weights differ, or the deviation is out of the range of `discrete_gaussian.draw` in
            steps.
    """
    names = sorted(metrics)
    weights = {each.weight for each in metrics.values()}
    if len(weights) != 1:
        raise InvalidInput(
            f"The metrics of an evaluation with privacy have {len(weights)} weights, expected one: the noise "
            "hides one number of cases.",
            next_step="Report this: it is an error of the family or of fedrec.",
        )
    steps = [round(part / METRIC_STEP) for part in (*(metrics[name].total for name in names), *weights)]
    stream = SecretStream(key, "metrics", *scope, digest([names, steps, deviation]))
    noise = draw(deviation / METRIC_STEP, len(steps), stream.words).tolist()
    *totals, weight = [(step + each) * METRIC_STEP for step, each in zip(steps, noise, strict=True)]
    return {name: Metric(total, weight) for name, total in zip(names, totals, strict=True)}


def _noised(array: FloatArray, range_: Range, deviation: float, stream: SecretStream) -> FloatArray:
    steps = range_.in_steps(array).astype(np.int64)
    noise = draw(deviation / range_.step, array.size, stream.words).reshape(array.shape)
    # Whole numbers of steps below 2^53 are exact in float64.
    return range_.rounded((steps + noise) * np.float64(range_.step))[0]


def _facts(name: str, array: FloatArray, range_: Range, deviation: float) -> list[Any]:
    values = hashlib.sha256(array.astype("<f4").tobytes()).hexdigest()
    return [name, array.shape, values, range_.lowest, range_.highest, range_.step, deviation]
