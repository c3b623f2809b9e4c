"""Secret streams repeat for equal keys and scopes only."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from models.privacy.secret_stream import SecretStream

KEY = bytes(range(32))


def test_equal_key_and_scope_give_equal_words():
    first = SecretStream(KEY, "job", "3").words(100)
    again = SecretStream(KEY, "job", "3")
    assert (first.dtype, first.shape) == (np.uint64, (100,))
    assert np.array_equal(np.concatenate([again.words(60), again.words(40)]), first)


@pytest.mark.parametrize(
    ("key", "scope"),
    [(KEY, ("job", "4")), (KEY, ("job3",)), (KEY, ("job", "3", "")), (KEY[::-1], ("job", "3"))],
)
def test_another_key_or_scope_gives_other_words(key, scope):
    first = SecretStream(KEY, "job", "3").words(100)
    assert not np.intersect1d(first, SecretStream(key, *scope).words(100)).size


def test_words_are_uniform():
    bits = np.unpackbits(SecretStream(KEY, "uniform").words(20_000).view(np.uint8).reshape(-1, 8), axis=1)
    for place in range(64):
        assert stats.binomtest(int(bits[:, place].sum()), len(bits)).pvalue > 1e-5


def test_a_key_of_another_length_is_refused():
    with pytest.raises(ValueError, match="31 bytes, expected 32"):
        SecretStream(KEY[:31])
