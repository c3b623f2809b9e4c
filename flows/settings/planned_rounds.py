"""Plans the rounds of a job whose configuration leaves `federation.rounds` out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from models.recommenders.families.registry import family_of

if TYPE_CHECKING:
    from flows.settings.training_config import TrainingConfig

Config = TypeVar("Config", bound="TrainingConfig")

# Keys whose null means that they are left out.
_PLANNED = {"federation": ("rounds",), "train": ("early_epochs", "cooldown_share")}


def without_nulls(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys and values of a configuration without nulls that ask for a plan."""
    found = dict(raw)
    for section, names in _PLANNED.items():
        values = found.get(section)
        if isinstance(values, Mapping):
            found[section] = {k: v for k, v in values.items() if v is not None or k not in names}
    return found


def with_planned_rounds(config: Config, raw: Mapping[str, Any]) -> Config:
    """Return the configuration with its family's plan, if a fresh job of all clients leaves its rounds out.

    Clients that are selected now and then merge often as it is, and a champion's embeddings have left their
    start.

    Args:
        config: the configuration of these keys and values.
        raw: what `without_nulls` returned.
    """
    federation, train = config.federation, raw.get("train")
    if "rounds" in federation.model_fields_set or federation.cohort_share < 1 or config.start_from != "fresh":
        return config
    family = family_of(config.train)
    plan = family.planned(train if isinstance(train, Mapping) else () if train is None else vars(train))
    if plan is None:
        return config
    spec, rounds = plan
    section = federation.model_copy(update={"rounds": rounds})
    return config.model_copy(update={"train": spec, "federation": section})
