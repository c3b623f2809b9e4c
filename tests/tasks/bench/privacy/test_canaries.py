"""The audit of noise: honest noise passes, and too little noise, a wrong claim or a longer part is found."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.privacy.mechanisms import multiplier_for
from models.recommenders.base.family import LocalRound
from tasks.bench.privacy.canaries import HONEST, TOO_LITTLE, Effort, canary_rows, shown_by_runs
from tasks.bench.privacy.canary_attack import one_run_scores, seen_in_runs
from tasks.bench.privacy.canary_markdown import BEGIN, END, put_table, table
from tasks.bench.privacy.canary_world import small_world, wide_world
from tasks.bench.privacy.noisy_sums import noisy_rounds

DELTA = 1e-5
CLAIMS = (1.0, 8.0)
EFFORT = Effort(runs=60, canaries=100)
BOUNDS = ("sums", "sums_gaussian", "model", "model_gaussian", "one_run")


@pytest.fixture(scope="module")
def rows():
    """The rows of two claims, each with its noise and with a tenth of it."""
    said = []
    found = list(canary_rows(CLAIMS, DELTA, EFFORT, said.append))
    assert len(said) == len(found) * 3
    return found


def row_of(rows, epsilon, noise):
    (found,) = (row for row in rows if (row["epsilon"], row["noise"]) == (epsilon, noise))
    return found


@pytest.mark.parametrize("world", [small_world(), wide_world(60)], ids=["small", "wide"])
def test_canaries_are_as_visible_as_the_promise_allows(world):
    # The sum of squares of each part's length in units of its noise is 1 for a user of full length. Rounding
    # towards zero takes a little of a profile of many contents.
    for canary in (0, len(world.canaries) - 1):
        own = world.learner([world.canaries[canary]])
        visible = 0.0
        for round_, each in enumerate(noisy_rounds(world.learners(), world.family, 4.0, 5), start=1):
            part, _ = world.family.train(each.base.items, None, own, LocalRound("", round_, 0))
            units = world.family.unit_noise(round_)
            visible += sum(float(np.square(array / units[name]).sum()) for name, array in part.named())
        assert 0.94 < visible <= 1.0


def test_nobody_but_the_canary_used_two_of_its_items():
    world = small_world()
    own = set(world.canaries[0].tolist())
    used = [own & set(items.tolist()) for lists in world.users.values() for items in lists]
    assert max(len(items) for items in used) == 1
    assert set().union(*used) == own


def test_honest_noise_keeps_all_bounds_below_the_claim(rows):
    for epsilon in CLAIMS:
        for name in BOUNDS:
            assert row_of(rows, epsilon, HONEST)[name] < epsilon


def test_a_tenth_of_the_noise_is_found(rows):
    for epsilon in CLAIMS:
        assert row_of(rows, epsilon, TOO_LITTLE)["sums_gaussian"] > epsilon
    for name in ("sums", "model_gaussian", "one_run"):
        assert row_of(rows, 1.0, TOO_LITTLE)[name] > 1.0


def test_noise_of_eight_that_is_claimed_to_be_of_one_is_found(rows):
    assert row_of(rows, 8.0, HONEST)["sums_gaussian"] > 1.0


def test_a_user_whose_part_is_three_times_as_long_as_promised_is_found():
    multiplier, thrice = multiplier_for(8.0, DELTA), (0, 0, 0)
    found = shown_by_runs(multiplier, DELTA, EFFORT.runs, 1, lambda line: None, "", joining=thrice)
    assert found["sums_gaussian"] > 8.0


def test_the_same_seed_shows_the_same():
    world, multiplier = small_world(), multiplier_for(2.0, DELTA)
    first, again, other = (seen_in_runs(world, multiplier, 2, seed, is_in=True) for seed in (1, 1, 2))
    assert first.sums.tolist() == again.sums.tolist() != other.sums.tolist()
    assert first.model.tolist() == again.model.tolist()
    assert len(set(first.sums.tolist())) == 2, "each run has its own noise"
    wide = wide_world(20)
    scores = [np.concatenate(one_run_scores(wide, multiplier, seed)).tolist() for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]


def test_each_claim_has_a_row_with_its_noise_and_one_with_a_tenth(rows):
    assert [(row["epsilon"], row["noise"]) for row in rows] == [
        *((epsilon, HONEST) for epsilon in CLAIMS),
        *((epsilon, TOO_LITTLE) for epsilon in CLAIMS),
    ]
    for epsilon in CLAIMS:
        honest, too_little = (row_of(rows, epsilon, noise)["multiplier"] for noise in (HONEST, TOO_LITTLE))
        assert honest == multiplier_for(epsilon, DELTA)
        assert too_little == pytest.approx(0.1 * honest)


def test_the_table_lies_between_its_marks(rows, tmp_path):
    document = tmp_path / "privacy.md"
    document.write_text("\n".join(["before", BEGIN, "old", END, "after"]))
    put_table(document, rows)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter") and "old" not in text
    assert table(rows) in text
    assert "| 1 | as claimed | " in text and "| 8 | 0.1 of it | " in text
    # 100 right guesses of 100: q^100 = 0.05, so epsilon = log(q / (1 - q)), and delta hardly matters.
    assert "one training with 100 canaries, at most 3.5." in text
    document.write_text("no marks")
    with pytest.raises(InvalidInput):
        put_table(document, rows)
