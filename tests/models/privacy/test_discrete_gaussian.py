"""Draws of the discrete Gaussian have the exact probabilities."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal, localcontext

import numpy as np
import pytest
from scipy import stats

from models.errors import InvalidInput
from models.privacy.discrete_gaussian import LARGEST_DEVIATION, LEAST_DEVIATION, draw
from models.privacy.secret_stream import SecretStream

KEY = bytes(range(32))
# A goodness-of-fit test of a right sampler fails with this probability. Seeds are fixed, so it fails always
# or never.
SURPRISING = 1e-4


def drawn(deviation: float, count: int, *scope: str) -> np.ndarray:
    return draw(deviation, count, SecretStream(KEY, *scope).words)


@pytest.mark.parametrize("deviation", [4.0, 11.7, 300.25])
def test_draws_have_the_probabilities_of_the_discrete_gaussian(deviation):
    found = drawn(deviation, 400_000, "fit")
    reach = int(2.5 * deviation)
    numbers = np.arange(-15 * int(deviation), 15 * int(deviation) + 1)
    exact = np.exp(-(numbers**2) / (2 * deviation**2))
    exact /= exact.sum()
    inside = np.abs(numbers) <= reach
    # The numbers one by one, and both tails together.
    expected = np.append(exact[inside], exact[~inside].sum()) * len(found)
    counts = np.bincount(found[np.abs(found) <= reach] + reach, minlength=2 * reach + 1)
    observed = np.append(counts, np.count_nonzero(np.abs(found) > reach))
    assert expected.min() > 5
    assert stats.chisquare(observed, expected).pvalue > SURPRISING


@pytest.mark.parametrize("deviation", [2.0**13, 2.0**13 + 1.0, 20_000.5, 2.0**25])
def test_wide_draws_are_as_smooth_as_a_gaussian(deviation):
    found = drawn(deviation, 200_000, "wide")
    assert stats.kstest((found + 0.5) / deviation, "norm").pvalue > SURPRISING
    # Each residue is as likely as any other, however wide draws are made of narrow ones.
    for modulus in (2, 17, 256, 1000):
        assert stats.chisquare(np.bincount(found % modulus, minlength=modulus)).pvalue > SURPRISING


def given(*words: int) -> Callable[[int], np.ndarray]:
    """Return a source of these words."""
    left = list(words)
    return lambda count: np.array([left.pop(0) for _ in range(count)], dtype=np.uint64)


@pytest.mark.parametrize("deviation", [4.0, 37.5])
def test_a_number_is_drawn_for_exactly_its_share_of_128_bits(deviation):
    """Draw on both sides of the exact cumulative probabilities, also where 64 bits do not tell them apart."""
    numbers = range(-20 * int(deviation), 20 * int(deviation) + 1)
    with localcontext(prec=60):
        weights = [(-(Decimal(k) ** 2) / (2 * Decimal(deviation) ** 2)).exp() for k in numbers]
        whole, seen, cumulative = sum(weights), Decimal(0), {}
        for k, weight in zip(numbers, weights, strict=True):
            seen += weight
            cumulative[k] = int(seen / whole * 2**128)
    # The table's probabilities are off by 2^-107 of the whole, because it ends at 12 standard deviations.
    margin = 2 ** (128 - 107)
    for k in range(-int(9.2 * deviation), int(9.2 * deviation)):
        for position, expected in ((cumulative[k] - margin, k), (cumulative[k] + margin, k + 1)):
            words = given(*divmod(position, 2**64))
            assert draw(deviation, 1, words).tolist() == [expected]


@pytest.mark.parametrize("deviation", [LEAST_DEVIATION, 5000.0, 30_000.0, LARGEST_DEVIATION])
def test_equal_secrets_give_equal_draws_and_others_give_others(deviation):
    first = drawn(deviation, 1000, "a")
    assert first.dtype == np.int64
    assert np.array_equal(first, drawn(deviation, 1000, "a"))
    assert not np.array_equal(first, drawn(deviation, 1000, "b"))


@pytest.mark.parametrize("deviation", [0.0, 3.9, float("nan"), 2.0**39, -5.0])
def test_a_deviation_that_is_too_small_or_absurd_is_refused(deviation):
    with pytest.raises(InvalidInput, match=r"standard deviation of .* steps, expected 4 to"):
        drawn(deviation, 1, "a")
