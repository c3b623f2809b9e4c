"""How the family that predicts ratings is trained in a job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt

from models.kernel.settings import defaults_of, refuse_without_effect
from models.recommenders.rating.bayesian_mf import BayesianMfSpec


@dataclass(frozen=True)
class RatingSpec:
    """A chain of which each round is one step: one that counts, some that find directions, then sweeps.

    Attributes:
        lowest, highest, dims, directions, direction_rounds, noise_freedom, prior_scale: as in
            `BayesianMfSpec`.
        burn_in: how many sweeps come before the first draw that is kept.
        thinning: one of so many draws is kept after that.
        draws: how many kept draws a model holds, the newest; they bound its size.
        family: names this way to train.
    """

    lowest: float = 1.0
    highest: float = 5.0
    dims: Annotated[int, Ge(1)] = 10
    directions: Annotated[int, Ge(1)] = 40
    direction_rounds: Annotated[int, Ge(1)] = 4
    noise_freedom: Annotated[float, Gt(0)] = 40.0
    prior_scale: Annotated[float, Gt(0)] = 0.1
    burn_in: Annotated[int, Ge(0)] = 12
    thinning: Annotated[int, Ge(1)] = 3
    draws: Annotated[int, Ge(1)] = 16
    family: Literal["bayesian_mf"] = "bayesian_mf"

    def __post_init__(self) -> None:
        _ = self.chain  # says what is wrong with the scale

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
        return BayesianMfSpec(
            lowest=self.lowest,
            highest=self.highest,
            dims=self.dims,
            directions=self.directions,
            direction_rounds=self.direction_rounds,
            noise_freedom=self.noise_freedom,
            prior_scale=self.prior_scale,
            sweeps=self.burn_in + 1,
            burn_in=self.burn_in,
        )
