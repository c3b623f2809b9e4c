"""How much noise there is in the figures of a job that promises privacy."""

from __future__ import annotations

import math

from models.kernel.metric import Metric
from models.privacy.noise_plan import NoisePlan

# A model is evaluated on validation cases, and once more on test cases.
EVALUATIONS = 2
# The rounding of figures to whole steps adds less than this share to what a user changes.
_ROUNDING = 2.0**-15
# 95 % of a normal distribution lie within so many standard deviations.
_NORMAL = 1.96


def figures_deviation(noise: NoisePlan, metrics: int) -> float:
    """Return the standard deviation of the noise that one client adds to each total, and to the weight.

    A user has one case, whose value of each metric is from 0 to 1, and which counts once in the weight that
    all metrics have in common. So a user changes n + 1 numbers of n metrics by at most 1 each, in each
    evaluation.

    Args:
        noise: of the job.
        metrics: n, the number of metrics of an evaluation.

    Raises:
        InvalidConfig: the job's evaluations get no share of the noise.
    """
    sensitivity = math.sqrt(metrics + 1.0) * (1.0 + _ROUNDING)
    return noise.figures_deviation(sensitivity * math.sqrt(EVALUATIONS))


def noise_margin(metric: Metric, noise: NoisePlan, metrics: int, clients: int = 0) -> float:
    """Return by how much noise alone moves a metric's mean, as half the width of a 95 % interval.

    Total T and weight W have independent noise of standard deviation s. To first order that of T / W is
    s / W * sqrt(1 + (T / W)^2). Each client adds its share of the noise, so it is larger if more than the
    fewest did.

    Args:
        metric: the sum over all clients, of positive weight.
        noise: of the job.
        metrics: number of metrics of the evaluation.
        clients: number of clients in the sum; if it is not known, the fewest.

    Raises:
        InvalidConfig: the job's evaluations get no share of the noise.
    """
    deviation = figures_deviation(noise, metrics) * math.sqrt(max(clients, noise.summands))
    return _NORMAL * deviation / metric.weight * math.hypot(1.0, metric.value)
