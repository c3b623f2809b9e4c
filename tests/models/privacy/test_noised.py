"""Noise of contributions and metrics."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from models.errors import InvalidInput
from models.federation.contribution import Contribution, Summation
from models.federation.fixed_point import METRIC_STEP, rounded
from models.federation.model import ItemArrays
from models.kernel.metric import Metric, total
from models.kernel.packed import packed
from models.kernel.ranges import Range
from models.privacy.noise_plan import NoisePlan
from models.privacy.noised import noised, noised_metrics

KEY = bytes(range(32))
SCOPE = ("job", "7")
RANGES = dict.fromkeys(ItemArrays.names(), Range(-(2**15), 2**15 - 1, 2.0**-10))
# In units: 8 steps or more.
DEVIATIONS = dict(zip(ItemArrays.names(), (0.5, 0.25, 0.125, 1 / 128), strict=True))


def arrays(value: float = 0.0, items: int = 6) -> ItemArrays:
    shapes = ((items, 2), (items,), (items,), (items,))
    return ItemArrays(*(np.full(shape, value, np.float32) for shape in shapes))


def contribution(value: float = 0.0, items: int = 6, **changes) -> Contribution[ItemArrays]:
    metrics = {"loss": Metric(3.0, 4.0)}
    return replace(rounded(Contribution(arrays(value, items), 1.0, 99, metrics), RANGES), **changes)


def values(found: Contribution[ItemArrays]) -> np.ndarray:
    return np.concatenate([array.ravel() for _, array in found.arrays.named()])


def test_only_noisy_arrays_are_left():
    found = noised(contribution(1.0), DEVIATIONS, KEY, SCOPE)
    assert (found.weight, found.interactions, found.metrics, found.ranges) == (1.0, 0, {}, RANGES)
    assert all(array.dtype == np.float32 for _, array in found.arrays.named())
    # Whole numbers of steps, as the codec and secure sums read them.
    assert all(RANGES[name].in_steps(array).any() for name, array in found.arrays.named())
    assert (values(found) != 1.0).mean() > 0.9


def test_each_array_has_its_own_deviation():
    found = noised(contribution(items=5000), DEVIATIONS, KEY, SCOPE)
    for name, array in found.arrays.named():
        ratio = np.square(array, dtype=np.float64).sum() / DEVIATIONS[name] ** 2
        assert stats.chi2(array.size).ppf(1e-4) < ratio < stats.chi2(array.size).ppf(1 - 1e-4)


def test_rows_left_out_have_noise_too():
    whole = contribution()
    part = replace(whole, arrays=packed(whole.arrays))
    assert part.arrays != whole.arrays
    found = noised(part, DEVIATIONS, KEY, SCOPE)
    assert np.array_equal(values(found), values(noised(whole, DEVIATIONS, KEY, SCOPE)))


def test_the_same_release_has_the_same_bytes():
    first = values(noised(contribution(), DEVIATIONS, KEY, SCOPE))
    assert np.array_equal(first, values(noised(contribution(), dict(DEVIATIONS), KEY, list(SCOPE))))


@pytest.mark.parametrize(
    "changed",
    [
        lambda: noised(contribution(), DEVIATIONS, KEY[::-1], SCOPE),
        lambda: noised(contribution(), DEVIATIONS, KEY, ("job", "8")),
        # A difference of two releases with the same noise would be exact.
        lambda: noised(contribution(2.0**-10), DEVIATIONS, KEY, SCOPE),
        # Twice the noise less the noise would be exact, too.
        lambda: noised(contribution(), {name: 2 * each for name, each in DEVIATIONS.items()}, KEY, SCOPE),
    ],
    ids=["key", "scope", "contribution", "deviation"],
)
def test_another_release_has_other_noise(changed):
    first, other = values(noised(contribution(), DEVIATIONS, KEY, SCOPE)), values(changed())
    assert (first != other).any()
    # Neither the same noise on another value nor a multiple of it.
    assert len(np.unique(other - first)) > len(first) / 2
    assert (other != 2 * first).any()


def test_arrays_of_one_contribution_have_different_noise():
    same = dict.fromkeys(ItemArrays.names(), 0.5)
    found = dict(noised(contribution(items=50), same, KEY, SCOPE).arrays.named())
    one, two, three = (found[name] for name in ItemArrays.names()[1:])
    assert (one != two).any()
    assert (two != three).any()


def test_noise_beyond_the_range_is_clipped_and_not_counted():
    narrow = dict.fromkeys(ItemArrays.names(), Range(-8, 7, 2.0**-10))
    found = noised(rounded(Contribution(arrays(items=500)), narrow), DEVIATIONS, KEY, SCOPE)
    steps = values(found) * 2.0**10
    assert (steps.min(), steps.max()) == (-8, 7)
    assert found.metrics == {}


@pytest.mark.parametrize("survivors", [21, 15])
def test_a_sum_has_at_least_the_variance_that_the_plan_claims(survivors):
    """21 clients of which 15 must survive: with all there is more noise than claimed, by 21 / 15."""
    plan = NoisePlan(multiplier=1.5, summands=15)
    unit = dict.fromkeys(ItemArrays.names(), 0.5)
    claimed = 0.5 * 1.5
    mine = contribution(1.0, items=400)
    sum_ = Summation(arrays(items=400))
    for client in range(survivors):
        key = client.to_bytes(32, "big")
        sum_.add(str(client), noised(mine, plan.client_deviations(unit), key, SCOPE))
    noise = np.concatenate([array.ravel() - survivors for _, array in sum_.result().total.named()])
    assert len(noise) == 2000
    law = stats.chi2(len(noise))
    found = np.square(noise).sum() / (claimed**2 * survivors / 15)
    assert law.ppf(1e-4) < found < law.ppf(1 - 1e-4)
    assert np.square(noise).sum() / claimed**2 > law.ppf(1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weight": 2.0}, "weight 2"),
        ({"weight": 0.0}, "weight 0"),
        ({"ranges": {}}, "got ranges for none"),
        ({"arrays": arrays(0.3)}, "not one of"),
    ],
)
def test_a_contribution_that_cannot_have_noise_is_refused(change, message):
    with pytest.raises(InvalidInput, match=message):
        noised(replace(contribution(), **change), DEVIATIONS, KEY, SCOPE)


def test_an_array_without_noise_is_refused():
    first, *others = ItemArrays.names()
    with pytest.raises(InvalidInput, match=f"noise for {', '.join(sorted(others))}"):
        noised(contribution(), dict.fromkeys(others, 0.5), KEY, SCOPE)
    with pytest.raises(InvalidInput, match="noise for none"):
        noised(contribution(), {}, KEY, SCOPE)
    with pytest.raises(InvalidInput, match="standard deviation of 0 steps"):
        noised(contribution(), {**DEVIATIONS, first: 0.0}, KEY, SCOPE)


METRICS = {"ndcg@10": Metric(12.3456789, 40.0), "hits": Metric(7.0, 40.0)}


def test_totals_of_metrics_and_their_one_weight_have_noise_in_steps():
    found = noised_metrics(METRICS, 3.0, KEY, SCOPE)
    assert found.keys() == METRICS.keys()
    parts = [part for each in found.values() for part in (each.total, each.weight)]
    assert all(part != round(part) and (part / METRIC_STEP).is_integer() for part in parts)
    assert found == noised_metrics(dict(reversed(METRICS.items())), 3.0, KEY, SCOPE)
    # Two totals, and the weight of both.
    assert len({*parts}) == 3
    assert len({each.weight for each in found.values()}) == 1


@pytest.mark.parametrize("metrics", [{}, {**METRICS, "hits": Metric(7.0, 39.0)}])
def test_metrics_that_count_other_cases_are_refused(metrics):
    with pytest.raises(InvalidInput, match=f"have {len(metrics)} weights, expected one"):
        noised_metrics(metrics, 3.0, KEY, SCOPE)


@pytest.mark.parametrize(
    "changed",
    [
        lambda: noised_metrics(METRICS, 3.0, KEY[::-1], SCOPE),
        lambda: noised_metrics(METRICS, 3.0, KEY, ("job", "8")),
        lambda: noised_metrics(METRICS, 6.0, KEY, SCOPE),
        lambda: noised_metrics({**METRICS, "hits": Metric(8.0, 40.0)}, 3.0, KEY, SCOPE),
    ],
    ids=["key", "scope", "deviation", "metric"],
)
def test_other_metrics_have_other_noise(changed):
    first, other = noised_metrics(METRICS, 3.0, KEY, SCOPE), changed()
    assert all(
        not math.isclose(first[name].weight, other[name].weight, rel_tol=1e-9)
        and not math.isclose(first[name].total + 1.0, other[name].total, rel_tol=1e-9)
        for name in METRICS
    )


def test_a_sum_of_metrics_has_the_variance_that_was_asked_for():
    noise = []
    for round_ in range(50):
        sums = total(
            noised_metrics(METRICS, 3.0, client.to_bytes(32, "big"), (f"{round_}",)) for client in range(21)
        )
        noise += [sums[name].total - 21 * metric.total for name, metric in METRICS.items()]
        noise.append(sums["hits"].weight - 21 * METRICS["hits"].weight)
    law = stats.chi2(len(noise))
    assert law.ppf(1e-4) < np.square(noise).sum() / (21 * 3.0**2) < law.ppf(1 - 1e-4)
