"""How the family that predicts ratings is trained in a job."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Annotated, Literal

from annotated_types import Ge

from models.kernel.settings import defaults_of, refuse_without_effect
from models.recommenders.rating.bayesian_mf import BayesianMfSettings, BayesianMfSpec


@dataclass(frozen=True)
class RatingSpec(BayesianMfSettings):
    """A chain of which each round is one step: one that counts, some that find directions, then sweeps.

    Attributes:
        direction_rounds: how many rounds find the directions of co-rating.
        burn_in: how many sweeps come before the first draw that is kept.
        thinning: after that, every `thinning`-th draw is kept.
        draws: how many kept draws a model holds, the newest; they bound its size.
        family: names this way to train.
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
        """The model."""
        common = {one.name: getattr(self, one.name) for one in fields(BayesianMfSettings)}
        return BayesianMfSpec(**common, sweeps=self.burn_in + 1, burn_in=self.burn_in)
