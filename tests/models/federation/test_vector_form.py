"""Laws of the vectors of secure sums: the sum of vectors is the sum of contributions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from models.errors import InvalidInput
from models.federation.contribution import Contribution, RunningSum
from models.federation.fixed_point import METRIC_STEP, ranges_for, rounded
from models.federation.model import ItemArrays
from models.federation.vector_form import NoArrays, VectorForm
from models.kernel.metric import Metric
from models.kernel.packed import packed
from models.kernel.ranges import Range

SHAPES = {
    "embeddings": (3, 2),
    "biases": (3,),
    "embedding_accumulators": (3,),
    "bias_accumulators": (3,),
}
# Narrow enough for 32 bits, wider, of counts, and with ends that are not powers of two.
RANGES = {
    "embeddings": Range.symmetric(8.0, 16),
    "biases": Range.symmetric(2.0**20, 40),
    "embedding_accumulators": Range.counting(25, 2.0**-12),
    "bias_accumulators": Range(-3, 1000, 0.5),
}
NAMES = ("clipped", "users")


def contributions(weights: st.SearchStrategy[int]) -> st.SearchStrategy[Contribution[ItemArrays]]:
    def arrays(name: str) -> st.SearchStrategy[np.ndarray]:
        elements = st.floats(-1e5, 1e5, width=32)
        return npst.arrays(np.float32, SHAPES[name], elements=elements)

    return st.builds(
        lambda group, weight, users, interactions: Contribution(
            group, float(weight), interactions, {"users": Metric(users, 1.0)}
        ),
        st.fixed_dictionaries({name: arrays(name) for name in SHAPES}).map(lambda each: ItemArrays(**each)),
        weights,
        st.floats(-1e6, 1e6),
        st.integers(0, 2**40),
    )


def form(clients: int, max_weight: int = 1) -> VectorForm:
    zeros = ItemArrays(**{name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()})
    return VectorForm(zeros, ranges_for(ItemArrays, RANGES), NAMES, clients, max_weight)


@settings(max_examples=60)
@given(
    parts=st.lists(contributions(st.integers(0, 9)), min_size=1, max_size=5),
    random=st.randoms(use_true_random=False),
    is_packed=st.booleans(),
)
def test_the_sum_of_vectors_is_the_sum_of_the_contributions(parts, random, is_packed):
    given_form = form(len(parts), max_weight=9)
    parts = [rounded(each, given_form.ranges) for each in parts]
    plain = RunningSum.zero(parts[0].arrays)
    for number, part in enumerate(parts):
        plain = plain.plus(f"{number}", part)
    total = None
    for part in random.sample(parts, len(parts)):
        sent = replace(part, arrays=packed(part.arrays)) if is_packed else part
        blocks = given_form.blocks(sent)
        assert [block.dtype.itemsize for block in blocks] == [
            4 if width <= 32 else 8 for width in given_form.layout.widths
        ]
        assert [block.size for block in blocks] == list(given_form.layout.counts)
        with np.errstate(over="ignore"):
            total = blocks if total is None else [a + b for a, b in zip(total, blocks, strict=True)]
    modulo = [
        block & block.dtype.type(2**width - 1)
        for block, width in zip(total, given_form.layout.widths, strict=True)
    ]
    found = given_form.running_sum(modulo, plain.clients)
    assert (found.weight, found.interactions, found.clients) == (
        plain.weight,
        plain.interactions,
        plain.clients,
    )
    for (name, array), (_, expected) in zip(found.total.named(), plain.total.named(), strict=True):
        assert array.dtype == np.float64
        assert np.array_equal(array, expected), name
    for name in NAMES:
        assert found.metrics[name] == plain.metrics[name]


def test_a_block_is_as_wide_as_the_sum_needs_and_no_wider():
    assert form(21).layout.widths[0] == 16 + 5
    # 21 * 1003 steps of 15 bits, and 2^25 - 1 of 21 clients.
    assert form(21).layout.widths[3] == (21 * 1003).bit_length() == 15
    assert form(21, max_weight=2**10).layout.widths[0] == 16 + 5 + 10
    assert form(1).layout.widths == (16, 40, 25, 10, 64)


def test_a_sum_of_metrics_alone_has_no_arrays():
    alone = VectorForm(NoArrays(), {}, ("hr@10",), 3)
    blocks = alone.blocks(Contribution(NoArrays(), metrics={"hr@10": Metric(3.5, 9.0)}))
    summed = alone.running_sum([block * np.uint64(2) for block in blocks], ("a", "b"))
    assert summed.metrics == {"hr@10": Metric(7.0, 18.0)}
    nothing = alone.running_sum(alone.blocks(Contribution(NoArrays())), ("a",))
    assert nothing.metrics == {}


def test_a_negative_total_of_a_metric_is_summed():
    alone = VectorForm(NoArrays(), {}, ("benefit",), 2)
    blocks = alone.blocks(Contribution(NoArrays(), metrics={"benefit": Metric(-3 * METRIC_STEP, 2.0)}))
    assert alone.running_sum(blocks, ("a",)).metrics == {"benefit": Metric(-3 * METRIC_STEP, 2.0)}


def test_what_does_not_fit_is_refused():
    arrays = form(3).form
    contribution = rounded(Contribution(arrays), form(3).ranges)
    with pytest.raises(InvalidInput, match="weight is 2, at most 1"):
        form(3).blocks(replace(contribution, weight=2.0))
    with pytest.raises(InvalidInput, match="no place for the metrics loss"):
        form(3).blocks(replace(contribution, metrics={"loss": Metric(1.0, 1.0)}))
    outside = arrays.map(lambda array: array + np.float32(1e9))
    with pytest.raises(InvalidInput, match="is not one of"):
        form(3).blocks(replace(contribution, arrays=outside))


def test_a_sum_of_more_than_64_bits_is_refused():
    with pytest.raises(InvalidInput, match="'biases' needs 67 bits"):
        form(2**12, max_weight=2**22)
