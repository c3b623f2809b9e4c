"""The benefit of joining, from sums alone."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import InvalidInput
from models.evaluation.benefit import FEWEST_CASES, Benefit, benefit_of, offer_of, paired_difference
from models.kernel.metric import Metric


def benefit(federated, alone) -> Benefit:
    sums = paired_difference(np.array(federated, dtype=float), np.array(alone, dtype=float))
    return benefit_of(sums["benefit"], sums["benefit_squared"])


def test_three_cases_by_hand():
    sums = paired_difference(np.array([1.0, 0.5, 0.0]), np.array([0.0, 0.5, 0.5]))
    # Differences 1, 0, -0.5: sum 0.5, sum of squares 1.25.
    assert sums == {"benefit": Metric(0.5, 3.0), "benefit_squared": Metric(1.25, 3.0)}
    found = benefit_of(sums["benefit"], sums["benefit_squared"])
    assert found.cases == 3
    assert found.mean == pytest.approx(1 / 6)
    # s² = (1.25 - 0.25 / 3) / 2 = 7/12; divided by the three cases 7/36.
    assert found.standard_error == pytest.approx(math.sqrt(7) / 6)


def test_the_error_of_one_case_is_unknown_and_so_is_the_mean_of_none():
    assert benefit([1.0], [0.25]) == Benefit(0.75, None, 1)
    nothing = benefit([], [])
    assert math.isnan(nothing.mean)
    assert (nothing.standard_error, nothing.cases) == (None, 0)


def test_equal_differences_have_no_error_despite_rounding():
    # 0.1 ten times: in floating point 10 * 0.01 may be below 1.0² / 10.
    found = benefit([0.1] * 10, [0.0] * 10)
    assert found.standard_error == pytest.approx(0.0, abs=1e-9)
    assert benefit_of(Metric(3.0, 3.0), Metric(3.0 - 1e-15, 3.0)).standard_error == 0.0


def test_different_cases_are_refused():
    with pytest.raises(InvalidInput, match="two values per case"):
        paired_difference(np.zeros(2), np.zeros(3))


def lead(local: float, spread: float, cases: int) -> Benefit:
    """Return validation cases in which the own model leads by `local` on average."""
    return Benefit(-local, spread, cases)


def test_the_own_model_is_offered_where_it_leads_by_more_than_noise():
    assert offer_of(lead(0.021, 0.02, 50)) == "local"
    assert offer_of(lead(0.019, 0.02, 50)) == "global"
    assert offer_of(lead(-0.5, 0.02, 50)) == "global"
    assert offer_of(lead(0.0, 0.0, 50)) == "global"
    assert offer_of(lead(0.1, 0.0, 50)) == "local"


def test_an_own_model_with_few_cases_is_not_offered():
    assert offer_of(lead(0.5, 0.01, FEWEST_CASES - 1)) == "global"
    assert offer_of(lead(0.5, 0.01, FEWEST_CASES)) == "local"
    assert offer_of(Benefit(-0.5, None, 1)) == "global"


@given(st.integers(FEWEST_CASES, 500), st.floats(0.01, 1.0))
def test_a_single_case_that_differs_is_one_standard_error_and_decides_nothing(cases, difference):
    federated = np.zeros(cases)
    alone = np.zeros(cases)
    alone[cases // 2] = difference
    sums = paired_difference(federated, alone)
    found = benefit_of(sums["benefit"], sums["benefit_squared"])
    assert -found.mean == pytest.approx(found.standard_error)
    assert offer_of(found) == "global"


VALUES = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=20)


@given(VALUES, VALUES)
def test_the_sums_of_two_clients_are_those_of_their_union(one, other):
    sums = [paired_difference(*np.array(part).T) for part in (one, other)]
    together = benefit_of(*(sums[0][name] + sums[1][name] for name in ("benefit", "benefit_squared")))
    differences = [federated - alone for federated, alone in one + other]
    assert together.mean == pytest.approx(statistics.fmean(differences), abs=1e-12)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    assert together.standard_error == pytest.approx(error, abs=1e-7)
