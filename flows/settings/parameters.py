"""Which settings of a job MLflow shows beside those of other jobs."""

from __future__ import annotations

from flows.settings.planned_rounds import with_planned_rounds
from flows.settings.training_config import TrainingConfig
from flows.settings.without_effect import settings_without_effect
from tasks.messages.record import flattened

# The limits are many, and a job is compared by the few that are not at their defaults.
_LIMITS = "contracts."
# Places and parallelism change no result.
_PLACES = "runner."


def parameters_of(config: TrainingConfig) -> tuple[str, ...]:
    """Return the dotted keys of the settings that a job uses; of its limits, those not at their defaults."""
    unused, other = settings_without_effect(config), _other_than_default(config)
    return tuple(
        key
        for key, value in flattened(config.model_dump(mode="json"))
        if value is not None
        and key not in unused
        and not key.startswith(_PLACES)
        and (key in other or not key.startswith(_LIMITS))
    )


def differing(config: TrainingConfig) -> tuple[str, ...]:
    """Return the dotted keys of the settings that differ from the defaults and decide the result.

    The settings of the family come first.
    """
    deciding = dict(flattened(config.deciding()))
    found = [key for key in _other_than_default(config) if key in deciding]
    return tuple(sorted(found, key=lambda key: not key.startswith("train.")))


def _other_than_default(config: TrainingConfig) -> list[str]:
    own = ("name", "model_name", "data", "train")
    defaults = {name: each.default for name, each in type(config).model_fields.items() if name not in own}
    usual = config.model_copy(update={**defaults, "train": type(config.train)()})
    planned = with_planned_rounds(usual, {})
    if planned.federation.rounds == config.federation.rounds:
        usual = planned
    given, default = (dict(flattened(each.model_dump(mode="json"))) for each in (config, usual))
    return [key for key, value in given.items() if value != default.get(key)]
