"""Hit rates and comparisons of answers by hand arithmetic."""

from __future__ import annotations

import pytest

from models.errors import InvalidInput
from models.promotion.live import Comparison, DropPolicy, Hits, has_dropped


def test_a_rate_is_hits_per_answer():
    assert Hits(200, 50).rate == 0.25
    assert Hits().rate == 0.0
    assert Hits(10, 30).rate == 1.0
    assert Hits(1, 1) + Hits(3, 0) == Hits(4, 1)


@pytest.mark.parametrize(
    ("now", "dropped"),
    [
        # Before: .2 of 1000. With .1 allowed, .18 is left; the standard error of the difference is about
        # sqrt(.144 * .856 / 1000 + .81 * .16 / 1000) = .0159, so that the border is .18 - 1.645 * .0159.
        (Hits(1000, 190), False),
        (Hits(1000, 160), False),
        (Hits(1000, 150), True),
        (Hits(1000, 0), True),
        (Hits(499, 0), False),
    ],
)
def test_a_drop_counts_if_it_exceeds_the_allowance_and_chance(now, dropped):
    assert has_dropped(Hits(1000, 200), now, DropPolicy(max_drop=0.1)) is dropped


def test_a_champion_is_not_compared_with_one_that_hardly_answered():
    assert not has_dropped(Hits(499, 200), Hits(1000, 0), DropPolicy(max_drop=0.1))
    assert has_dropped(Hits(499, 200), Hits(1000, 0), DropPolicy(max_drop=0.1, min_answers=400))


@pytest.mark.parametrize(
    "wrong", [{"max_drop": 1.0}, {"max_drop": -0.1}, {"max_drop": 0.1, "min_answers": 0}]
)
def test_an_impossible_policy_is_refused(wrong):
    with pytest.raises(InvalidInput, match="must lie in"):
        DropPolicy(**wrong)


def test_a_comparison_counts_shared_items_and_their_moves():
    # b moves from place 2 to 1, c stays at 3. a and d are in one answer only.
    one = Comparison.of(["a", "b", "c"], ["b", "d", "c"], 0.001, 0.003)

    assert (one.overlap, one.shared, one.rank_difference) == (pytest.approx(2 / 3), 2, 1.0)
    both = one + Comparison.of(["a"], ["a"], 0.001, 0.001)
    assert both.figures() == pytest.approx(
        {
            "questions": 2.0,
            "overlap": 5 / 6,
            "mean_rank_difference": 1 / 3,
            "champion_ms": 1.0,
            "challenger_ms": 2.0,
        }
    )


def test_two_empty_answers_are_equal():
    assert Comparison.of([], [], 0.0, 0.0).overlap == 1.0
    assert Comparison().figures()["overlap"] == 0.0
