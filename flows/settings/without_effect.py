"""Refuses settings that have no effect beside those of another section.

A family's spec refuses its own settings that have none beside each other. Only values that differ from their
default are refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from flows.settings.settings_file import Section
from models.errors import InvalidConfig
from models.evaluation.judgement import RATINGS
from models.federation.model import ItemModel
from models.recommenders.families.registry import family_of

if TYPE_CHECKING:
    from flows.settings.training_config import TrainingConfig

_OF_THREADS = ("threads",)
_OF_SILOS = ("silos", "poll_s", "away_s")


@runtime_checkable
class ChecksRounds(Protocol):
    """A family's spec of which a setting needs a number of rounds."""

    def check_rounds(self, rounds: int) -> None:
        """Raise `InvalidConfig` if a setting has no effect in a job of `rounds` merges."""


def refuse_without_effect(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` at the first setting that has no effect with those of another section.

    Args:
        config: a valid configuration.
        origin: what to call it in an error.
    """
    _check_rounds(config, origin)
    for key, other in (*_without_runner(config), *_without_negatives(config), *_without_biases(config)):
        value, default = _value(config, key), _default(config, key)
        if value != default:
            raise InvalidConfig(
                f"{origin}: {key} {value!r} has no effect with {other} {_value(config, other)!r}.",
                next_step=f"Leave {key} at {default!r}, or change {other}.",
                key=key,
            )


def _check_rounds(config: TrainingConfig, origin: str) -> None:
    if isinstance(config.train, ChecksRounds):
        try:
            config.train.check_rounds(config.federation.rounds)
        except InvalidConfig as error:
            key = f"train.{error.facts['key']}"
            raise InvalidConfig(
                f"{origin}: {key}: {error.what}", next_step=error.next_step, key=key
            ) from error


def _without_runner(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings of the other kind of runner; the lease and the exchange are for both."""
    for name in _OF_THREADS if config.runner.kind == "silos" else _OF_SILOS:
        yield f"runner.{name}", "runner.kind"


def _without_negatives(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield what a job needs to rank items, if its family predicts ratings instead."""
    if family_of(config.train).judgement is RATINGS:
        yield "evaluation.negatives", "train.family"


def _without_biases(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield the limit of item biases, if the models of the family have none."""
    if family_of(config.train).model_type.item_biases is ItemModel.item_biases:
        yield "contracts.embeddings.max_bias", "train.family"


def _value(config: Section, key: str) -> object:
    value: object = config
    for name in key.split("."):
        value = getattr(value, name)
    return value


def _default(config: TrainingConfig, key: str) -> object:
    section, _, name = key.partition(".")
    return _value(type(config).model_fields[section].default, name)
