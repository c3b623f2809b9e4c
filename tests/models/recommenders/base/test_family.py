"""What the interface of families computes from what a family defines."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from models.recommenders.additive.ials import IalsFamily, IalsSpec
from models.recommenders.base.family import Family
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.lightfm.spec import LightFMSpec


@pytest.mark.parametrize(
    ("cooldown_share", "fewer", "more", "shared"),
    [
        # The rate falls in the rounds before which less than the share is left: of 10 rounds and 0.25 those
        # after 8 and 9 rounds, so 8 are as in a longer training.
        (0.0, 10, 11, 10),
        (0.25, 10, 11, 8),
        (0.25, 10, 1000, 8),
        (0.5, 4, 8, 3),
        # It falls from the second round on.
        (1.0, 10, 20, 1),
        (1.0, 1, 2, 1),
    ],
)
def test_rounds_before_the_rate_falls_are_shared(
    cooldown_share: float, fewer: int, more: int, shared: int
) -> None:
    family = LightFMFamily(LightFMSpec(cooldown_share=cooldown_share))
    assert family.shared_rounds(fewer, more) == family.shared_rounds(more, fewer) == shared


def test_a_family_whose_rounds_do_not_know_their_number_shares_all() -> None:
    assert IalsFamily(IalsSpec()).shared_rounds(3, 9, seed=4) == 3


@dataclass(frozen=True)
class RuleOfArrays:
    """A rule whose comparison with an equal one raises, as that of dataclasses with arrays does."""

    rates: np.ndarray


class RuleWithoutEquality:
    """A rule that equals only itself."""


@pytest.mark.parametrize("rule", [lambda: RuleOfArrays(np.ones(2)), RuleWithoutEquality])
def test_rules_that_do_not_compare_share_nothing(rule: Any) -> None:
    class Odd(IalsFamily):
        def rule(self, done: float = 0.0, seed: int = 0) -> Any:
            return rule()

    odd: Family = Odd(IalsSpec())
    assert odd.shared_rounds(3, 9) == 0
