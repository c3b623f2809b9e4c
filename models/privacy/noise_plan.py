"""How much noise the clients of a job add, and how it is split between training and evaluation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from models.errors import InvalidConfig


@dataclass(frozen=True)
class NoisePlan:
    """The noise of a job, whose releases are together one Gaussian mechanism.

    A noise multiplier is a standard deviation over a sensitivity, the most by which one user changes what is
    released, in the L2 norm. Gaussian mechanisms of multipliers z_1, z_2, ... are together one of
    1/z^2 = 1/z_1^2 + 1/z_2^2 + ... (Dong, Roth, Su 2022, "Gaussian Differential Privacy", corollary 3.3). So
    1/z^2 is what is split.

    Each client adds 1/t of the variance, where t is the least number of summands of a sum. Then every sum has
    at least the noise that it should have (Kairouz, Liu, Steinke 2021, "The Distributed Discrete Gaussian
    Mechanism").

    Attributes:
        multiplier: z, of all that the job releases.
        summands: t, the fewest clients with which a round or an evaluation completes.
        figures_share: share of 1/z^2 that the evaluations get, from 0 to below 1; the arrays of training get
            the rest.

    Raises:
        InvalidConfig: a number is out of range.
    """

    multiplier: float
    summands: int
    figures_share: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 < self.multiplier < math.inf:
            raise InvalidConfig(f"The noise multiplier is {self.multiplier}, expected a number above 0.")
        if self.summands < 1:
            raise InvalidConfig(f"The noise is split among {self.summands} clients, expected at least 1.")
        if not 0.0 <= self.figures_share < 1.0:
            raise InvalidConfig(
                f"The share of the evaluations is {self.figures_share}, expected a number from 0 to below 1.",
                next_step="Choose privacy.figures_share such as 0.1; with 0 the job is not evaluated.",
            )

    @property
    def training_multiplier(self) -> float:
        """Return the noise multiplier of all rounds together."""
        return self.multiplier / math.sqrt(1.0 - self.figures_share)

    @property
    def figures_multiplier(self) -> float:
        """Return the noise multiplier of all evaluations together; infinite if they get no share."""
        return self.multiplier / math.sqrt(self.figures_share) if self.figures_share else math.inf

    def client_deviations(self, unit_noise: Mapping[str, float]) -> dict[str, float]:
        """Return array name -> standard deviation of the noise that one client adds, in the array's units.

        Args:
            unit_noise: array name -> standard deviation of the sum's noise for a training multiplier of 1.
        """
        factor = self.training_multiplier / math.sqrt(self.summands)
        return {name: deviation * factor for name, deviation in unit_noise.items()}

    def figures_deviation(self, unit_noise: float) -> float:
        """Return the standard deviation of the noise that one client adds to each figure of an evaluation.

        Args:
            unit_noise: standard deviation of the sum's noise for an evaluations' multiplier of 1.

        Raises:
            InvalidConfig: the evaluations get no share.
        """
        if not self.figures_share:
            raise InvalidConfig(
                "A job with privacy is not evaluated without a share of the noise for its evaluations.",
                next_step="Choose privacy.figures_share such as 0.1.",
            )
        return unit_noise * self.figures_multiplier / math.sqrt(self.summands)
