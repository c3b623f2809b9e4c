"""The families that a federation can train: fedrec's own, those of installed packages, and registered ones.

Everything that asks which family a spec, a model or an update belongs to asks here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

from models.errors import InvalidInput
from models.evaluation.ranking import Scores
from models.federation.model import ItemModel
from models.kernel.arrays import ArrayGroup
from models.kernel.histories import Histories
from models.recommenders.additive.blend import BlendFamily
from models.recommenders.additive.ease import EaseFamily
from models.recommenders.additive.ials import IalsFamily
from models.recommenders.additive.next_item import NextItemFamily
from models.recommenders.base.family import Family, FamilySpec
from models.recommenders.lightfm.family import LightFMFamily
from models.recommenders.rating.family import RatingFamily
from models.recommenders.scoring.scorers import forget_scorer, register_scorer

# Under this name installed packages list families: name = "module:Class".
ENTRY_POINTS = "fedrec.families"
_families: dict[str, type[Family]] = {}
# What a model of one type answers must not depend on which of its families is asked.
_ANSWERS = ("scorer", "history_scores")
_F = TypeVar("_F", bound=type[Family])


def register_family(family: _F) -> _F:
    """Let jobs train this family: a class decorator.

    Raises:
        InvalidInput: its name is another family's, or its models or contributions cannot be told apart from
            another family's.
    """
    name = family.name()
    if _families.get(name) is family:
        return family
    if name in _families:
        raise InvalidInput(
            f"{family.__name__} and {_families[name].__name__} are both named {name!r}.",
            next_step="Give the family's spec another default of its field `family`.",
        )
    others = tuple(_families.values())
    for role, kinds in _kinds_by_role([family]).items():
        for kind in kinds:
            _require_distinct(kind, role, _kinds_by_role(others)[role])
    for other in others:
        if other.model_type is family.model_type and not _answer_alike(family, other):
            raise InvalidInput(
                f"{family.__name__} and {other.__name__} have models of the type "
                f"{family.model_type.__name__} and answer differently by them.",
                next_step="Derive both from one class that answers, or give one a model type of its own.",
            )
    register_scorer(family.scorer_type)
    _families[name] = family
    return family


def forget_family(family: type[Family]) -> None:
    """Undo `register_family`."""
    if _families.get(family.name()) is family:
        del _families[family.name()]
        if family.scorer_type not in {other.scorer_type for other in _families.values()}:
            forget_scorer(family.scorer_type)


def families() -> tuple[type[Family], ...]:
    """Return all families, fedrec's own first.

    Raises:
        InvalidInput: an installed package lists what is no family, or one that cannot be registered.
    """
    _register_installed()
    return tuple(_families.values())


def family_named(name: object) -> type[Family]:
    """Return the family of this name.

    Raises:
        InvalidInput: there is no such family.
    """
    for family in families():
        if family.name() == name:
            return family
    known = ", ".join(family.name() for family in families())
    raise InvalidInput(
        f"There is no family {name!r}, only {known}.",
        next_step=f"Name one of them, or install the package that lists it under {ENTRY_POINTS!r}.",
    )


def spec_of(values: Mapping[str, Any]) -> FamilySpec:
    """Return the spec in these values, of the family that they name.

    Raises:
        InvalidInput: there is no such family.
        TypeError: the family has no such setting.
    """
    return family_named(values.get("family")).spec_type(**values)


def family_of(spec: FamilySpec) -> Family:
    """Return the family that trains as `spec` says.

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
    """Return a family whose models are of this type, and which therefore knows how they answer.

    Raises:
        InvalidInput: no family has such models.
    """
    for family in families():
        if family.model_type is type(items):
            return family
    raise InvalidInput(f"No family answers by a model of the type {type(items).__name__}.")


def history_scores(items: ItemModel, histories: Histories) -> Scores:
    """Return what a model of any family answers to users of whom nothing but the history is known.

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


def _kinds_by_role(some: Iterable[type[Family]]) -> dict[str, list[type[ArrayGroup]]]:
    """Return what is stored of these families; inside a role the names of its arrays tell a type."""
    listed = list(some)
    return {
        "models": [family.model_type for family in listed],
        "contributions": [kind for family in listed for kind in family.contribution_types],
    }


def _require_distinct(kind: type[ArrayGroup], role: str, others: Iterable[type[ArrayGroup]]) -> None:
    names = {one.name for one in fields(kind)}  # type: ignore[arg-type]  # groups are dataclasses
    if kind.AXES.keys() != names:
        raise InvalidInput(
            f"{kind.__name__} names the axes of {sorted(kind.AXES)}, but its arrays are {sorted(names)}.",
            next_step="Let AXES name each array.",
        )
    for other in others:
        if other is not kind and other.AXES.keys() == kind.AXES.keys():
            raise InvalidInput(
                f"{kind.__name__} and {other.__name__} are both {role} of the arrays {sorted(names)}: "
                "a file of one could not be told from a file of the other.",
                next_step="Rename an array, or let both families use one class.",
            )


def _answer_alike(one: type[Family], other: type[Family]) -> bool:
    def methods(family: type[Family]) -> list[Callable[..., object]]:
        return [getattr(family, name).__func__ for name in _ANSWERS]

    return methods(one) == methods(other)


@lru_cache(maxsize=1)
def _register_installed() -> None:
    for each in entry_points(group=ENTRY_POINTS):
        found = each.load()
        if not (isinstance(found, type) and issubclass(found, Family)):
            raise InvalidInput(
                f"An installed package lists {each.value!r} under {ENTRY_POINTS!r}, which is no family."
            )
        register_family(found)


for _own in (LightFMFamily, IalsFamily, EaseFamily, NextItemFamily, BlendFamily, RatingFamily):
    register_family(_own)
