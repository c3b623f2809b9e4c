"""Error feedback: what updates leave out is sent later, and nothing is lost."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InvalidInput
from models.federation.contribution import Contribution
from models.federation.error_feedback import largest_rows, with_feedback
from models.federation.model import ItemArrays
from models.kernel.packed import PackedArrays, whole, with_rows
from models.recommenders.lightfm.merge_rules import merge_rule
from models.recommenders.lightfm.spec import LightFMSpec

ITEMS, DIMS = 7, 2


def arrays(embeddings: np.ndarray, grown: float = 0.0) -> ItemArrays:
    """Return arrays with these embeddings and biases of zero."""
    n = len(embeddings)
    counts = np.full(n, grown, np.float32)
    return ItemArrays(embeddings.astype(np.float32), np.zeros(n, np.float32), counts, counts.copy())


@st.composite
def contributions(draw: st.DrawFn) -> Contribution[ItemArrays]:
    values = st.floats(-1, 1, width=32)
    counts = st.floats(0, 4, width=32)
    return Contribution(
        ItemArrays(
            draw(npst.arrays(np.float32, (ITEMS, DIMS), elements=values)),
            draw(npst.arrays(np.float32, (ITEMS,), elements=values)),
            draw(npst.arrays(np.float32, (ITEMS,), elements=counts)),
            draw(npst.arrays(np.float32, (ITEMS,), elements=counts)),
        )
    )


@given(st.lists(contributions(), min_size=1, max_size=5), st.floats(0.01, 1.0), st.integers(4, 15))
def test_what_was_sent_and_the_residual_are_all_that_was_contributed(given, share, bits):
    rule = merge_rule("adagrad_sum", 1.0, bits)
    residual, sent = None, np.zeros((ITEMS, DIMS))
    for each in given:
        gone, residual = with_feedback(each, residual, share, rule.rounded)
        found = whole(gone.arrays)
        sent += found.embeddings
        assert gone.ranges == rule.ranges
        assert gone.metrics["clipped"].total == 0
        assert np.count_nonzero(found.embeddings.any(axis=1)) <= math.ceil(share * ITEMS)
        assert (found.embedding_accumulators >= 0).all()
    wanted = sum(each.arrays.embeddings.astype(np.float64) for each in given)
    assert np.allclose(sent + residual.embeddings, wanted, atol=1e-5)


@given(contributions(), st.integers(4, 15))
def test_with_all_rows_only_rounding_is_left_out(contribution, bits):
    rule = merge_rule("sum", 1.0, bits)
    _, residual = with_feedback(contribution, None, 1.0, rule.rounded)
    for name, left in residual.named():
        assert np.abs(left).max() <= rule.ranges[name].step / 2, name


def test_the_largest_rows_are_sent_and_the_others_follow():
    rule = merge_rule("sum")
    embeddings = np.zeros((ITEMS, DIMS))
    embeddings[[1, 4, 6], 0] = [0.5, -2.0, 1.0]
    first, residual = with_feedback(Contribution(arrays(embeddings, 1.0)), None, 2 / ITEMS, rule.rounded)
    assert isinstance(first.arrays, PackedArrays)
    assert first.arrays.rows["biases"].numbers.tolist() == [4, 6]
    assert residual.embeddings[:, 0].tolist() == [0, 0.5, 0, 0, 0, 0, 0]
    assert residual.bias_accumulators.tolist() == [1, 1, 1, 1, 0, 1, 0]
    nothing = Contribution(arrays(np.zeros((ITEMS, DIMS))))
    second, residual = with_feedback(nothing, residual, 2 / ITEMS, rule.rounded)
    assert second.arrays.rows["biases"].numbers.tolist() == [1]
    assert whole(second.arrays).bias_accumulators.tolist() == [0, 1, 0, 0, 0, 0, 0]
    assert not residual.embeddings.any()
    # Accumulators alone give no direction, so they wait for the next change of their rows.
    assert residual.bias_accumulators.tolist() == [1, 0, 1, 1, 0, 1, 0]


def test_packed_contributions_are_read_whole():
    part = arrays(np.array([[3.0, 0.0], [1.0, 0.0]]))
    packed = with_rows(part, np.array([2, 5], np.int32), ITEMS)
    sent, residual = with_feedback(Contribution(packed), None, 1 / ITEMS, merge_rule("sum").rounded)
    assert sent.arrays.rows["embeddings"].numbers.tolist() == [2]
    assert residual.embeddings[5].tolist() == [1.0, 0.0]
    assert len(residual.embeddings) == ITEMS


def test_rows_of_equal_norm_are_chosen_in_their_order():
    tied = arrays(np.ones((4, DIMS)))
    assert largest_rows(tied, 0.5).tolist() == [0, 1]
    assert largest_rows(arrays(np.zeros((4, DIMS))), 1.0).tolist() == []


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1, float("nan")])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(InvalidInput, match="share"):
        largest_rows(arrays(np.ones((4, DIMS))), share)


def test_clients_keep_a_residual_only_for_small_updates():
    assert not LightFMSpec().feeds_back
    assert LightFMSpec(sent_rows=0.5).feeds_back
    assert LightFMSpec(sent_bits=8).feeds_back
