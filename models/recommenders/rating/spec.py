"""The settings of the family that predicts ratings, in a job."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from annotated_types import Ge

from models.kernel.settings import defaults_of, refuse_without_effect
from models.recommenders.rating.bayesian_mf import BayesianMfSettings, BayesianMfSpec


@dataclass(frozen=True)
class RatingSpec(BayesianMfSettings):
    """The settings of a job's chain: one round counts, some find directions, the others are sweeps.

    Attributes:
        direction_rounds: number of rounds that find the directions of co-rating.
        burn_in: number of sweeps before the first kept draw.
        thinning: after that, every `thinning`-th draw is kept.
        draws: number of newest kept draws in a model, which bounds its size.
        family: the family's name.
    """

    direction_rounds: Annotated[int, Ge(1)] = 4
    burn_in: Annotated[int, Ge(0)] = 12
    thinning: Annotated[int, Ge(1)] = 3
    draws: Annotated[int, Ge(1)] = 16
    family: Literal["bayesian_mf"] = "bayesian_mf"

    def check_rounds(self, rounds: int) -> None:
        """Raise `InvalidConfig` if a setting has no effect in a job of `rounds` merges."""
        sweeps = rounds - 1 - self.direction_rounds
        if sweeps <= self.burn_in:  # no draw is kept
            names = ["thinning", "draws"]
            if sweeps <= defaults_of(RatingSpec)["burn_in"]:
                names.append("burn_in")
            for name in names:
                refuse_without_effect(self, name, "federation.rounds", rounds)

    @property
    def chain(self) -> BayesianMfSpec:
        """Return the settings of the chain."""
        common = {one.name: getattr(self, one.name) for one in fields(BayesianMfSettings)}
        return BayesianMfSpec(**common, sweeps=self.burn_in + 1, burn_in=self.burn_in)
