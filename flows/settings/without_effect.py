"""Refuses settings that have no effect because of settings in another section.

A family's spec does the same within the spec. Only values that differ from their default are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flows.settings.privacy_section import without_unit
from models.errors import InvalidConfig
from models.evaluation.judgement import RATINGS
from models.federation.model import ItemModel
from models.kernel.settings import as_written
from models.recommenders.families.registry import family_of

if TYPE_CHECKING:
    from flows.settings.training_config import TrainingConfig

_OF_CLUSTERS = ("address", "processes")
# By kind of runner: the settings that others do not have. All use the lease and the exchange.
_OWN_SETTINGS: dict[str, tuple[str, ...]] = {
    "threads": ("threads",),
    "dask": _OF_CLUSTERS,
    "ray": _OF_CLUSTERS,
    "silos": ("silos", "poll_s", "away_s"),
    "gateway": ("silos", "orders"),
}


def refuse_without_effect(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` at the first setting that has no effect with those of another section.

    Args:
        config: a valid configuration.
        origin: its name in errors.
    """
    _check_rounds(config, origin)
    for key, other in _without_effect(config):
        value, default = _value(config, key), _default(config, key)
        if value != default:
            raise InvalidConfig(
                f"{origin}: {key} {as_written(value)} has no effect with {other} "
                f"{as_written(_value(config, other))}.",
                next_step=f"Leave {key} at {as_written(default)}, or change {other}.",
                key=key,
            )


def settings_without_effect(config: TrainingConfig) -> tuple[str, ...]:
    """Return the dotted keys of the settings that have no effect with those of another section."""
    return tuple(key for key, _ in _without_effect(config))


def _without_effect(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield setting and the other setting whose value makes it have no effect."""
    yield from _without_runner(config)
    yield from _without_negatives(config)
    yield from _without_biases(config)
    yield from _without_robust(config)
    yield from without_unit(config)


def _check_rounds(config: TrainingConfig, origin: str) -> None:
    try:
        family_of(config.train).check_rounds(config.federation.rounds)
    except InvalidConfig as error:
        # Families name their own settings without their section.
        named = str(error.facts["key"])
        key = named if named.startswith("federation.") else f"train.{named}"
        raise InvalidConfig(f"{origin}: {key}: {error.what}", next_step=error.next_step, key=key) from error


def _without_runner(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings of other kinds of runner, and that of a cluster that is already there."""
    own = _OWN_SETTINGS[config.runner.kind]
    for name in dict.fromkeys(each for names in _OWN_SETTINGS.values() for each in names):
        if name not in own:
            yield f"runner.{name}", "runner.kind"
    if config.runner.address is not None:
        yield "runner.processes", "runner.address"


def _without_negatives(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings for ranking items, if the family predicts ratings instead."""
    if family_of(config.train).judgement is RATINGS:
        yield "evaluation.negatives", "train.family"
        yield "evaluation.users_share", "train.family"


def _without_biases(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield the limit of item biases, if the family's models have no biases."""
    if family_of(config.train).model_type.item_biases is ItemModel.item_biases:
        yield "contracts.embeddings.max_bias", "train.family"


def _without_robust(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings of other methods of a robust merge."""
    robust = config.federation.robust
    if not robust.has_share:
        yield "federation.robust.share", "federation.robust.method"
    if robust.is_plain:
        yield "federation.robust.group", "federation.robust.method"


def _value(config: object, key: str) -> object:
    value = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _default(config: TrainingConfig, key: str) -> object:
    section, _, name = key.partition(".")
    return _value(type(config).model_fields[section].default, name)
