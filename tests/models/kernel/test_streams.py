"""A user's random numbers depend on that user alone, and have the right distributions."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.kernel.streams import gammas, normals, uniforms, user_keys

KEYS = user_keys(7, "test", [f"user {number}" for number in range(400)])


def test_a_user_draws_the_same_alone_and_among_others():
    alone = user_keys(7, "test", ["user 123"])
    np.testing.assert_array_equal(normals(alone, 5, 3), normals(KEYS, 5, 3)[[123]])
    shapes = np.linspace(0.5, 80, 400)
    np.testing.assert_array_equal(gammas(alone, 5, shapes[[123]]), gammas(KEYS, 5, shapes)[[123]])


def test_seeds_purposes_users_and_steps_draw_differently():
    draws = [
        uniforms(user_keys(seed, purpose, [user]), step, 1)[0, 0]
        for seed in (1, 2)
        for purpose in ("a", "b")
        for user in ("x", "y")
        for step in range(3)
    ]
    assert len(set(draws)) == len(draws)


def test_numbers_have_their_distributions():
    steps = range(25)
    drawn = np.concatenate([normals(KEYS, step, 4) for step in steps])
    assert stats.kstest(drawn.ravel(), "norm").pvalue > 0.01
    # Neither the numbers of one draw nor those of successive draws are correlated.
    assert np.abs(np.corrcoef(drawn.T) - np.eye(4)).max() < 0.04
    assert abs(np.corrcoef(drawn[400:, 0], drawn[:-400, 0])[0, 1]) < 0.04
    shape = 3.5
    drawn = np.concatenate([gammas(KEYS, step, np.full(400, shape)) for step in steps])
    assert stats.kstest(drawn, "gamma", args=(shape,)).pvalue > 0.01


@pytest.mark.filterwarnings("error")
def test_large_steps_wrap_around_without_a_warning():
    drawn = uniforms(KEYS, 2**40, 100)
    assert drawn.min() > 0
    assert drawn.max() < 1
