"""The settings of the privacy table from the command line."""

from __future__ import annotations

import pytest

from flows.settings.private_specs import private_specs
from models.errors import InvalidConfig
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.private.spec import DpItemsSpec
from tasks.bench.privacy.arms import PrivateSpecs


def test_single_settings_change_and_others_keep_their_defaults():
    assert private_specs(["dp_items.paired_items=2000", "dp_items.nearness=0", "ease.forgetting=0"]) == (
        PrivateSpecs(DpItemsSpec(paired_items=2000, nearness=0.0), EaseSpec(forgetting=0.0))
    )
    assert private_specs([]) == PrivateSpecs()


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("dp_items.pairs=3", "dp_items.pairs"),
        ("train.dims=3", "train"),
        ("dp_items.paired_items=1", "dp_items.paired_items"),
        ("dp_items.content_share=0.8", "content_share"),
        ("paired_items", "key=value"),
    ],
)
def test_a_wrong_setting_is_named(override, named):
    with pytest.raises(InvalidConfig, match=named):
        private_specs([override])
