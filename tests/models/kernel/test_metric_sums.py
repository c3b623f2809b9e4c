"""Laws of addable metrics: the grouping of clients does not matter."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.kernel.metric import Metric, as_json, total, values

# Whole numbers add without rounding, so the laws hold exactly.
METRICS = st.builds(Metric, st.integers(-1000, 1000).map(float), st.integers(0, 1000).map(float))
CLIENTS = st.lists(st.dictionaries(st.sampled_from(["hr@10", "ndcg@10", "loss"]), METRICS), max_size=6)


@given(CLIENTS, st.randoms(use_true_random=False))
def test_the_order_of_clients_is_irrelevant(clients, random):
    assert total(random.sample(clients, len(clients))) == total(clients)


@given(CLIENTS, CLIENTS)
def test_totals_of_groups_add_to_the_total_of_all(one, other):
    assert total([total(one), total(other)]) == total(one + other)


@given(CLIENTS)
def test_stored_sums_have_the_means_of_the_sums(clients):
    sums = total(clients)
    assert values(as_json(sums)) == {name: each.value for name, each in sums.items() if each.weight}
