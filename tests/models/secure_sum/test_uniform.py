"""What travels looks uniformly random: masked vectors and sealed shares, whatever the values."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from models.kernel.bit_packing import word_type
from models.secure_sum.seeds import Seeds
from models.secure_sum.vectors import Layout, VectorSum
from tests.models.secure_sum.sums import World, world

# Fewer than one in a million uniform samples is beyond.
FALSE_ALARM = 1e-7


def is_uniform(data: bytes) -> bool:
    """Return whether the bytes pass Pearson's chi-square test against the uniform distribution."""
    counts = np.bincount(np.frombuffer(data, np.uint8), minlength=256)
    statistic = float(((counts - len(data) / 256) ** 2).sum() / (len(data) / 256))
    # Both tails, because bytes that are too even are not random either.
    return bool(chi2.ppf(FALSE_ALARM / 2, 255) < statistic < chi2.isf(FALSE_ALARM / 2, 255))


def masked(width: int, value: int, count: int = 5) -> tuple[World, list[bytes]]:
    one = world(count, layout=Layout((1 << 14,), (width,)))
    same = [np.full(1 << 14, value, word_type(width))]
    one.vectors = dict.fromkeys(one.names, same)
    one.prepare(one.names)
    messages = [one.masked(name, one.sum.mask_request(name)) for name in one.names]
    return one, [message.partition(b"\n")[2] for message in messages]


@pytest.mark.parametrize("width", [8, 21, 32, 40, 64])
@pytest.mark.parametrize("ones", [False, True])
def test_masked_vectors_of_constants_are_uniform(width: int, ones: bool) -> None:
    value = 2**width - 1 if ones else 0
    _, vectors = masked(width, value)
    assert not is_uniform(bytes(len(vectors[0])))
    for vector in vectors:
        assert is_uniform(vector)
    # Nor do two vectors have a mask in common.
    first, second = (np.frombuffer(vector, np.uint8) for vector in vectors[:2])
    assert is_uniform((first ^ second).tobytes())
    assert is_uniform((first - second).tobytes())


def test_sealed_shares_are_uniform() -> None:
    one = world(32)
    data = b"".join(one.prepared(name).partition(b"\n")[2] for name in one.names)
    assert len(data) == 32 * 31 * 60
    assert is_uniform(data)


def test_fresh_seeds_are_uniform() -> None:
    seeds = [Seeds.fresh() for _ in range(2000)]
    assert is_uniform(b"".join(each.mask for each in seeds))
    assert is_uniform(b"".join(each.own for each in seeds))


def test_a_mask_is_the_keystream_of_chacha20() -> None:
    vector = VectorSum(Layout((16,), (32,)))
    vector.add_mask(bytes(32))
    # RFC 8439, appendix A.1, test vector 1: key, nonce and block counter of zeros.
    wanted = (
        "76b8e0ada0f13d90405d6ae55386bd28bdd219b8a08ded1aa836efcc8b770dc7"
        "da41597c5157488d7724e03fb8d84a376a43b8f41518a11cc387b669b2ee6586"
    )
    assert vector.blocks()[0].astype("<u4").tobytes().hex() == wanted


def test_masks_cancel_and_widths_are_respected() -> None:
    layout = Layout((5, 0, 3, 2), (1, 7, 40, 64))
    vector = VectorSum(layout)
    vector.add_mask(b"k" * 32)
    copy = vector.copy()
    for block, width in zip(vector.blocks(), layout.widths, strict=True):
        assert all(int(value) < 2**width for value in block)
    vector.add_mask(b"k" * 32, times=-1)
    assert [block.tolist() for block in vector.blocks()] == [[0] * count for count in layout.counts]
    assert any(copy.blocks()[2].tolist())
    again = VectorSum(layout)
    again.add_packed(copy.packed())
    assert [block.tolist() for block in again.blocks()] == [block.tolist() for block in copy.blocks()]
