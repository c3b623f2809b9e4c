"""Fixed point: contributions as whole numbers of steps within public ranges, so that sums are exact.

Step and ends of a range are public and the same for all clients. A value becomes the nearest value of its
range; those outside are clipped and counted. A sum of such values is exact in float64, so neither the order
of the clients, nor their grouping, nor the masks of a secure sum change a byte of it. Bonawitz et al. 2019
("Federated Learning with Autotuned Communication-Efficient Secure Aggregation") quantise in this way.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from models.federation.contribution import Contribution
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.metric import Metric
from models.kernel.packed import PackedArrays, shapes_of
from models.kernel.ranges import ANY_RANGE, Range

Arrays = TypeVar("Arrays", bound=ArrayGroup)

# Name of the metric of clipped values: their number, over the number of all values of the update.
CLIPPED = "clipped"
# The step of the totals of metrics: a millionth of a case.
METRIC_STEP = 2.0**-20


def ranges_for(kind: type[ArrayGroup], *given: Mapping[str, Range]) -> dict[str, Range]:
    """Return the range of each array of this kind: the last one given, or `ANY_RANGE`."""
    known = {name: each for ranges in given for name, each in ranges.items()}
    return {name: known.get(name, ANY_RANGE) for name in kind.names()}


def rounded(contribution: Contribution[Arrays], ranges: Mapping[str, Range]) -> Contribution[Arrays]:
    """Return the contribution with the nearest values of these ranges.

    It counts the clipped values in the metric `CLIPPED`, and rounds the totals of metrics to `METRIC_STEP`.

    Args:
        contribution: of a client, after all postprocessors.
        ranges: array name -> its range, for each array.
    """
    arrays, clipped = contribution.arrays, 0
    values: dict[str, FloatArray] = {}
    for name, array in arrays.named():
        values[name], count = ranges[name].rounded(array, contribution.weight)
        clipped += count
    size = sum(math.prod(shape) for shape in shapes_of(arrays).values())
    metrics = {name: _rounded(metric) for name, metric in contribution.metrics.items()}
    return replace(
        contribution,
        arrays=(
            PackedArrays(arrays.kind, values, arrays.rows)
            if isinstance(arrays, PackedArrays)
            else type(arrays)(**values)
        ),
        metrics={**metrics, CLIPPED: Metric(float(clipped), float(size))},
        ranges=ranges,
    )


def size_in_steps(arrays: ArrayGroup, ranges: Mapping[str, Range]) -> int:
    """Return the bytes of arrays of these shapes as whole numbers, with a weight of 1."""
    found = ranges_for(type(arrays), ranges)
    return sum(array.size * found[name].dtype().itemsize for name, array in arrays.named())


def _rounded(metric: Metric) -> Metric:
    return Metric(round(metric.total / METRIC_STEP) * METRIC_STEP, metric.weight)
