"""The audit of noise: honest noise passes, and too little noise, a wrong claim or a longer part is found."""

from __future__ import annotations

import numpy as np
import pytest

from models.errors import InvalidInput
from models.privacy.mechanisms import multiplier_for
from models.recommenders.base.family import LocalRound
from tasks.bench.privacy.canaries import Effort, canary_rows, shown_by_one_run, shown_by_runs
from tasks.bench.privacy.canary_attack import CANARY, one_run_scores, seen_in_runs
from tasks.bench.privacy.canary_markdown import BEGIN, END, put_table, table
from tasks.bench.privacy.canary_world import small_world, wide_world
from tasks.bench.privacy.noisy_sums import noisy_rounds

DELTA = 1e-5
RUNS = 160
BOUNDS = ("sums", "sums_gaussian", "model", "model_gaussian")


def shown(epsilon, noise=1.0, joining=CANARY):
    multiplier = noise * multiplier_for(epsilon, DELTA)
    return shown_by_runs(multiplier, DELTA, RUNS, 1, lambda line: None, "", joining)


def shown_at_once(epsilon, noise=1.0, canaries=200):
    multiplier = noise * multiplier_for(epsilon, DELTA)
    return shown_by_one_run(multiplier, DELTA, Effort(RUNS, canaries), lambda line: None, "")


@pytest.fixture(scope="module")
def of_eight():
    """What attackers show of the noise of an epsilon of 8."""
    return shown(8.0)


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


def test_honest_noise_keeps_all_bounds_below_the_claim(of_eight):
    for name in BOUNDS:
        assert of_eight[name] < 8.0
        assert shown(1.0)[name] < 1.0
    assert of_eight["sums_gaussian"] > 3.0, "the attack is worth something"


def test_a_tenth_of_the_noise_is_found():
    for epsilon in (1.0, 8.0):
        found = shown(epsilon, noise=0.1)
        assert found["sums_gaussian"] > epsilon
        assert found["model_gaussian"] > 1.0
    assert shown(1.0, noise=0.1)["sums"] > 1.0


def test_noise_of_eight_that_is_claimed_to_be_of_one_is_found(of_eight):
    assert of_eight["sums"] > 1.0
    assert of_eight["sums_gaussian"] > 1.0


def test_a_user_whose_part_is_twice_as_long_as_promised_is_found():
    assert shown(4.0, joining=(0, 0))["sums_gaussian"] > 4.0


def test_one_training_shows_less_than_the_claim_and_more_with_a_tenth_of_its_noise():
    for epsilon in (1.0, 8.0):
        assert shown_at_once(epsilon) < epsilon
    assert shown_at_once(1.0, noise=0.1) > 1.0


def test_the_same_seed_shows_the_same():
    world, multiplier = small_world(), multiplier_for(2.0, DELTA)
    first, again, other = (seen_in_runs(world, multiplier, 2, seed, is_in=True) for seed in (1, 1, 2))
    assert first.sums.tolist() == again.sums.tolist() != other.sums.tolist()
    assert first.model.tolist() == again.model.tolist()
    assert len(set(first.sums.tolist())) == 2, "each run has its own noise"
    wide = wide_world(20)
    scores = [np.concatenate(one_run_scores(wide, multiplier, seed)).tolist() for seed in (1, 1, 2)]
    assert scores[0] == scores[1] != scores[2]


def test_each_claim_has_a_row_with_its_noise_and_one_with_a_tenth_and_they_become_a_table(tmp_path):
    said = []
    rows = list(canary_rows([4.0, 6.0], DELTA, Effort(100, 60), said.append))
    assert [(row["epsilon"], row["noise"], row["runs"]) for row in rows] == [
        *((4.0, 1.0, 100), (6.0, 1.0, 100)),
        *((4.0, 0.1, 100), (6.0, 0.1, 100)),
    ]
    assert rows[2]["multiplier"] == pytest.approx(0.1 * rows[0]["multiplier"])
    for honest, too_little in zip(rows[:2], rows[2:], strict=True):
        assert honest["sums_gaussian"] < honest["epsilon"] < too_little["sums_gaussian"]
    assert len(said) == 4 * 3
    document = tmp_path / "privacy.md"
    document.write_text("\n".join(["before", BEGIN, "old", END, "after"]))
    put_table(document, rows)
    text = document.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter") and "old" not in text
    assert table(rows) in text
    assert "| 4 | as claimed | " in text and "| 6 | 0.1 of it | " in text
    # 60 right guesses of 60: q^60 = 0.05, so epsilon = log(q / (1 - q)), and delta hardly matters.
    assert "one training with 60 canaries, at most 3.0." in text
    document.write_text("no marks")
    with pytest.raises(InvalidInput):
        put_table(document, rows)
