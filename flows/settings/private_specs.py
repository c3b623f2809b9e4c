"""The settings of the privacy table, as the command line gives them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flows.settings.overrides import apply_override
from flows.settings.settings_file import Section, validated
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.private.spec import DpItemsSpec
from tasks.bench.privacy.arms import PrivateSpecs


class _Sections(Section):
    dp_items: DpItemsSpec = DpItemsSpec()
    ease: EaseSpec = EaseSpec()


def private_specs(overrides: Iterable[str]) -> PrivateSpecs:
    """Return the settings of the table's recommenders with these `key=value`.

    Raises:
        InvalidConfig: a key is unknown, or a value is out of range.
    """
    raw: dict[str, Any] = {}
    for override in overrides:
        apply_override(raw, override)
    sections = validated(_Sections, raw, "--set")
    return PrivateSpecs(sections.dp_items, sections.ease)
