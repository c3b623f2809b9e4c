"""What a job promises to each user, as its records, registry and report say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from models.privacy.mechanisms import Mechanism
from models.privacy.noise_plan import NoisePlan

MECHANISM = "discrete Gaussian"

NoiseBy = Literal["clients under secure sums", "clients"]
Period = Literal["ever", "year", "month"]


@dataclass(frozen=True, kw_only=True)
class Guarantee:
    """Differential privacy of all that a job releases, and the account that pays for it.

    Attributes:
        unit: who is protected: "user", with all interactions. Neighbouring data have one user more or less.
        epsilon, delta: of the model of the last round and all figures together.
        multiplier: standard deviation of the noise over the L2 sensitivity, of all releases together.
        mechanism: what draws the noise.
        summands: the least number of clients in a sum; each adds this share of the variance.
        figures_share: the share of the privacy loss that the evaluations have.
        noise_by: who adds the noise. Without secure sums the coordinator receives single contributions, which
            have too little noise to keep the promise towards it.
        account: name of the account.
        budget: the epsilon that all jobs of the account may spend together in a period.
        period: what the budget is for.
    """

    unit: Literal["user"]
    epsilon: float
    delta: float
    multiplier: float
    mechanism: str = MECHANISM
    summands: int
    figures_share: float
    noise_by: NoiseBy
    account: str
    budget: float
    period: Period

    @property
    def covers_coordinator(self) -> bool:
        """Return whether the promise holds towards the coordinator, too, who reads sums only."""
        return self.noise_by != "clients"

    @property
    def plan(self) -> NoisePlan:
        """Return the noise that clients add."""
        return NoisePlan(self.multiplier, self.summands, self.figures_share)

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        """Return what the account is charged for."""
        return (Mechanism(self.multiplier),)
