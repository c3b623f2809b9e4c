"""The families that a federation can train: fedrec's own, those of installed packages, and registered ones.

It finds the family of a spec, a model or an update.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from itertools import product
from typing import Any, TypeVar

from models.errors import InvalidInput
from models.evaluation.ranking import Scores
from models.federation.model import ItemModel
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.kernel.registry import Registry
from models.recommenders.additive.blend import BlendFamily
from models.recommenders.additive.ease import EaseFamily
from models.recommenders.additive.ials import IalsFamily
from models.recommenders.additive.next_item import NextItemFamily
from models.recommenders.base.family import Family, FamilySpec
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.private.family import DpItemsFamily
from models.recommenders.rating.family import RatingFamily
from models.recommenders.scoring.scorers import forget_scorer, register_scorer

_FAMILIES = Registry[type[Family]]("family", "fedrec.families")
_F = TypeVar("_F", bound=type[Family])


def register_family(family: _F) -> _F:
    """Register a class under its name, so that jobs can train it.

    An installed package registers its own by an entry point of the group `fedrec.families` that names the
    class or its module.

    Raises:
        InvalidInput: another class has the name, or its models or contributions cannot be distinguished from
            those of another class.
    """
    for other in _FAMILIES.registered():
        _require_distinct(family, other)
    for kind in (family.model_type, *family.contribution_types):
        _require_axes(kind)
    # First, so that a family whose scorer is refused is not registered either.
    register_scorer(family.scorer_type)
    _FAMILIES.add(family.name(), family)
    return family


def forget_family(family: type[Family]) -> None:
    """Undo `register_family`."""
    _FAMILIES.remove(family.name(), family)
    if family.scorer_type not in {other.scorer_type for other in _FAMILIES.registered()}:
        forget_scorer(family.scorer_type)


def families() -> tuple[type[Family], ...]:
    """Return all families, fedrec's own first.

    Raises:
        InvalidInput: an installed package lists a family that cannot be loaded or registered.
    """
    return _FAMILIES.things()


def family_named(name: object) -> type[Family]:
    """Return the family of this name.

    Raises:
        ValueError: there is no such family; it lists those that exist.
    """
    return _FAMILIES.find(name)


def spec_of(values: Mapping[str, Any]) -> FamilySpec:
    """Return the spec in these values, for the family that they name.

    Raises:
        ValueError: there is no such family; it lists those that exist.
        TypeError: the family has no such setting.
    """
    return family_named(values.get("family")).spec_type(**values)


def family_of(spec: FamilySpec) -> Family:
    """Return the family with this spec.

    Raises:
        InvalidInput: no family has such a spec.
    """
    family = family_named(spec.family)
    if type(spec) is not family.spec_type:
        raise InvalidInput(
            f"The spec of the family {spec.family!r} is a {type(spec).__name__}, "
            f"expected a {family.spec_type.__name__}."
        )
    return family(spec)


def answering(items: ItemModel) -> type[Family]:
    """Return a family whose models are of this type, and which can therefore score with them.

    Raises:
        InvalidInput: no family has such models.
    """
    for family in families():
        if family.model_type is type(items):
            return family
    raise InvalidInput(f"No family has models of the type {type(items).__name__}.")


def history_scores(items: ItemModel, histories: Histories) -> Scores:
    """Return the scores of a model of any family for users of whom only the history is known.

    Raises:
        InvalidInput: no family has such models.
    """
    return answering(items).history_scores(items, histories)


def model_types() -> tuple[type[ItemModel], ...]:
    """Return the types of models, each once."""
    return tuple(dict.fromkeys(family.model_type for family in families()))


def contribution_types() -> tuple[type[ArrayGroup], ...]:
    """Return the types of contributions, each once."""
    return tuple(dict.fromkeys(kind for family in families() for kind in family.contribution_types))


def _require_distinct(family: type[Family], other: type[Family]) -> None:
    """Raise an error if a stored file or model could belong to either of two families."""
    models = (family.model_type, other.model_type)
    pairs = [models, *product(family.contribution_types, other.contribution_types)]
    for one, two in pairs:
        if one is not two and one.AXES.keys() == two.AXES.keys():
            raise InvalidInput(
                f"{one.__name__} and {two.__name__} have the same arrays {sorted(one.AXES)}: their "
                "files could not be distinguished.",
                next_step="Rename an array, or let both families use one class.",
            )
    if models[0] is models[1] and _answers(family) != _answers(other):
        raise InvalidInput(
            f"{family.__name__} and {other.__name__} have models of the type {models[0].__name__}, but "
            "score with them differently.",
            next_step="Derive both from one class that scores, or give one its own type of model.",
        )


def _answers(family: type[Family]) -> list[object]:
    # A stored version has only a model, so its scores must not depend on the family that computes them.
    methods = [family.scorer, family.history_scores]
    return [*(getattr(each, "__func__", each) for each in methods), family.judgement]


def _require_axes(kind: type[ArrayGroup]) -> None:
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # groups are dataclasses
    if kind.AXES.keys() != names:
        raise InvalidInput(
            f"{kind.__name__}.AXES names {sorted(kind.AXES)}, but its arrays are {sorted(names)}.",
            next_step="Let AXES name the axes of each array.",
        )


for _own in (LightFMFamily, IalsFamily, EaseFamily, NextItemFamily, BlendFamily, DpItemsFamily, RatingFamily):
    register_family(_own)
