"""Settings of the chain that a short job would ignore are refused."""

from __future__ import annotations

import pytest

from models.errors import InvalidConfig
from models.recommenders.rating.spec import RatingSpec

# The first round counts and the next four find directions, so 20 rounds have 15 sweeps.
ROUNDS = 20


def test_a_job_that_keeps_a_draw_may_set_everything() -> None:
    RatingSpec(burn_in=14, thinning=2, draws=3).check_rounds(ROUNDS)


def test_a_longer_burn_in_than_the_job_has_an_effect_where_the_default_is_shorter() -> None:
    RatingSpec(burn_in=15).check_rounds(ROUNDS)
    RatingSpec(burn_in=40).check_rounds(ROUNDS)


@pytest.mark.parametrize("setting", [{"thinning": 2}, {"draws": 3}])
def test_draws_that_are_never_kept_have_no_settings(setting: dict[str, int]) -> None:
    with pytest.raises(InvalidConfig, match=next(iter(setting))):
        RatingSpec(burn_in=15, **setting).check_rounds(ROUNDS)


def test_a_burn_in_is_refused_where_the_default_keeps_no_draw_either() -> None:
    with pytest.raises(InvalidConfig, match="burn_in"):
        RatingSpec(burn_in=14).check_rounds(1 + 4 + 12)
