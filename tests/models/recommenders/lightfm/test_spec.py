"""LightFM's settings: which of them have no effect beside others, and that this is an error."""

from __future__ import annotations

import pytest

from models.errors import InvalidConfig
from models.recommenders.lightfm.spec import LightFMSpec, without_unused


@pytest.mark.parametrize("rule", ["mean", "weighted_mean"])
def test_a_mean_has_no_server_rate(rule):
    assert LightFMSpec(merge_rule=rule).server_learning_rate == 1.0
    with pytest.raises(InvalidConfig, match=f"no effect with merge_rule {rule!r}") as error:
        LightFMSpec(merge_rule=rule, server_learning_rate=0.5)
    assert error.value.key == "server_learning_rate"


def test_what_has_no_effect_falls_back_to_its_default_and_nothing_else_does():
    values = {"merge_rule": "mean", "server_learning_rate": 0.5, "dims": 3}
    assert without_unused(values) == {"merge_rule": "mean", "server_learning_rate": 1.0, "dims": 3}
    used = {"merge_rule": "sum", "server_learning_rate": 0.5}
    assert without_unused(used) == used


def test_the_first_epochs_may_have_more_rounds_than_the_others():
    spec = LightFMSpec(early_epochs=2, early_merges=3, merges_per_epoch=2)
    first = [(0, 0, 3), (0, 1, 3), (0, 2, 3), (1, 0, 3), (1, 1, 3), (1, 2, 3)]
    others = [(2, 0, 2), (2, 1, 2), (3, 0, 2), (3, 1, 2), (4, 0, 2)]
    assert [spec.part_of(round_) for round_ in range(1, 12)] == first + others
    epochs = [0, 1 / 3, 2 / 3, 1, 4 / 3, 5 / 3, 2, 2.5, 3, 3.5, 4, 4.5]
    assert [spec.epochs_of(rounds) for rounds in range(12)] == pytest.approx(epochs)
    assert [spec.rounds_of(each) for each in epochs] == pytest.approx(range(12))


@pytest.mark.parametrize(
    ("settings", "key", "other"),
    [
        ({"early_merges": 4}, "early_merges", "early_epochs"),
        ({"early_epochs": 4, "early_merges": 2, "merges_per_epoch": 2}, "early_epochs", "merges_per_epoch"),
    ],
)
def test_early_merges_need_epochs_and_a_number_of_their_own(settings, key, other):
    with pytest.raises(InvalidConfig, match=f"no effect with {other}") as error:
        LightFMSpec(**settings)
    assert error.value.key == key


def test_rounds_that_end_within_the_early_epochs_leave_no_effect_to_the_later_ones():
    spec = LightFMSpec(early_epochs=5, merges_per_epoch=2)
    spec.check_rounds(41)
    with pytest.raises(InvalidConfig, match="no effect with early_epochs 5") as error:
        spec.check_rounds(40)
    assert error.value.key == "merges_per_epoch"
    LightFMSpec(early_epochs=5).check_rounds(40)


def test_a_client_alone_trains_the_epochs_of_the_rounds():
    spec = LightFMSpec(early_epochs=5, early_merges=8)
    assert (spec.epochs_of(65), spec.rounds_of(30)) == (30.0, 65)
