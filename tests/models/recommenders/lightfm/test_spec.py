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
