"""How a recommender is to be trained: one spec for each family, told apart by its `family`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from models.recommenders.additive.blend import BlendSpec
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.additive.next_item import NextItemSpec
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.rating.spec import RatingSpec

AdditiveSpec = IalsSpec | EaseSpec | NextItemSpec | BlendSpec
FamilySpec = LightFMSpec | AdditiveSpec | RatingSpec
# Their rounds go on from the model before. The others are solved at once, whatever was known.
IterativeSpec = LightFMSpec | IalsSpec | RatingSpec
_SPECS: tuple[type[FamilySpec], ...] = get_args(FamilySpec)


def spec_of(values: Mapping[str, Any]) -> FamilySpec:
    """The spec in these values, of the family that they name.

    Raises:
        ValueError: there is no such family.
        TypeError: that family has no such setting.
    """
    for kind in _SPECS:
        if kind.family == values.get("family"):
            return kind(**values)
    known = ", ".join(kind.family for kind in _SPECS)
    raise ValueError(f"there is no family {values.get('family')!r}, only {known}")
