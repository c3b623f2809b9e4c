"""The settings of the private item model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Le

from models.errors import InvalidConfig

# The first round releases how popular the items are, the second one which of them go together.
ROUNDS = 2
# Share of the privacy budget for the number of users.
USERS_SHARE = 0.01


@dataclass(frozen=True)
class DpItemsSpec:
    """The settings of the private item model.

    Attributes:
        paired_items: number of the most popular items whose pairs are counted. More items have more pairs,
            each of which gets as much noise.
        popularity_share, content_share: shares of the privacy budget (of 1/z², z the noise multiplier) for
            the items' popularity and for the users' content profiles. A hundredth tells the number of users,
            and the pairs get the rest.
        content_norm: largest length of a user's content profile. A shorter one needs less noise, and a
            profile that is shortened says less.
        nearness: a pair of items used k places apart counts (k+1)^-nearness in a user's pairs, and an item
            used k places before the last one as much in a profile; 0 where the order says nothing.
        regularisation: ridge penalty of the weights.
        forgetting: an item used k places before has the weight k^-forgetting in a history.
        family: the family's name.

    Raises:
        InvalidConfig: the shares leave nothing for the pairs.
    """

    paired_items: Annotated[int, Ge(2)] = 600
    popularity_share: Annotated[float, Gt(0), Le(0.8)] = 0.25
    content_share: Annotated[float, Gt(0), Le(0.8)] = 0.25
    content_norm: Annotated[float, Gt(0), Le(1)] = 0.4
    nearness: Annotated[float, Ge(0), Le(4)] = 0.4
    regularisation: Annotated[float, Gt(0)] = 2.0
    forgetting: Annotated[float, Ge(0)] = 0.9
    family: Literal["dp_items"] = "dp_items"

    def __post_init__(self) -> None:
        if self.pairs_share <= 0.0:
            raise InvalidConfig(
                f"popularity_share {self.popularity_share:g} and content_share {self.content_share:g} leave "
                "nothing of the privacy budget for the pairs of items.",
                next_step=f"Choose shares whose sum is below {1.0 - USERS_SHARE:g}.",
                key="content_share",
            )

    @property
    def pairs_share(self) -> float:
        """Return the share of the privacy budget for the pairs of items."""
        return 1.0 - USERS_SHARE - self.popularity_share - self.content_share

    @property
    def unit_noise(self) -> tuple[dict[str, float], dict[str, float]]:
        """Return of each round: array name -> the noise in a sum, as `Family.unit_noise` says."""
        return (
            {"popularity": self.popularity_share**-0.5},
            {
                "content": self.content_norm**2 * self.content_share**-0.5,
                "pairs": self.pairs_share**-0.5,
                "users": USERS_SHARE**-0.5,
            },
        )
