"""The settings of `fedrec tune`: keys of a training configuration, their ranges, and the objective."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from flows.settings.settings_file import Section, read_yaml, validated
from models.errors import InvalidConfig
from models.recommenders.lightfm.spec import OF_ROUNDS

Arm = Literal["federated", "centralised"]
_COHORT_SHARE = "federation.cohort_share"


class SearchRange(Section):
    """The values that a key may have: a list, or all numbers between two."""

    choices: tuple[str | int | float, ...] = Field((), description="The values, in any order.")
    low: float | None = Field(None, description="The least number.")
    high: float | None = Field(None, description="The largest number.")
    log: bool = Field(False, description="Sample on a logarithmic scale.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        ends = (self.low, self.high)
        if bool(self.choices) == (None not in ends) or (self.choices and ends != (None, None)):
            raise ValueError("needs either choices, or low and high")
        if self.low is not None and self.high is not None:
            if self.low >= self.high:
                raise ValueError("low must be below high")
            if self.log and self.low <= 0:
                raise ValueError("low must be above 0 if log is true")
        elif self.log:
            raise ValueError("log has no effect on choices")
        return self


class TuningConfig(Section):
    """The settings of a search."""

    seed: int = Field(0, ge=0, description="Seed of the search itself.")
    training_seeds: tuple[int, ...] = Field(
        (101, 102), min_length=1, description="Training seeds of each trial. Use none of a report's seeds."
    )
    epochs: int = Field(40, ge=1, description="Maximal number of passes over the data in a trial.")
    evaluations: int = Field(
        4, ge=1, description="Number of evaluations on the validation cases in a trial, evenly spaced."
    )
    metrics: tuple[str, ...] = Field(
        ("ndcg@10", "hr@10", "loo_ndcg@10", "loo_hr@10"),
        min_length=1,
        description="The objective is their geometric mean, so that larger metrics do not count more.",
    )
    both: dict[str, SearchRange] = Field(default_factory=dict, description="Keys to search in both arms.")
    federated: dict[str, SearchRange] = Field(
        default_factory=dict, description="Keys to search in the federated arm only."
    )

    @model_validator(mode="after")
    def _as_many_evaluations_as_epochs(self) -> Self:
        default = type(self).model_fields["evaluations"].default
        if self.evaluations != default and self.evaluations > self.epochs:
            raise ValueError(
                f"{self.evaluations} evaluations need as many epochs, but there are {self.epochs}"
            )
        return self

    @model_validator(mode="after")
    def _keys_of_their_arms(self) -> Self:
        for key in (*self.both, *self.federated):
            if not key.startswith("train.") and key != _COHORT_SHARE:
                raise ValueError(f"{key} has no effect on a trial: search keys of train, or {_COHORT_SHARE}")
        for key in self.both:
            if key == _COHORT_SHARE or key.removeprefix("train.") in OF_ROUNDS:
                raise ValueError(f"{key} has no effect in the centralised arm: move it to federated")
        return self

    def space(self, arm: Arm) -> dict[str, SearchRange]:
        """Return the keys that this arm searches, with their ranges."""
        return self.both | (self.federated if arm == "federated" else {})


def load_tuning(path: Path) -> TuningConfig:
    """Return the search in a YAML file.

    Raises:
        InvalidConfig: the file cannot be read, a key is unknown, or a value is out of range.
    """
    raw = read_yaml(path, "The search")
    tuning = validated(TuningConfig, raw, str(path))
    _require_known(tuning.metrics, str(path))
    return tuning


def with_values(config: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of a nested configuration in which these dotted keys are set."""
    changed: dict[str, Any] = {**config}
    for key, value in values.items():
        section, _, name = key.partition(".")
        if not name or not isinstance(changed.get(section), Mapping):
            raise InvalidConfig(
                f"The search names {key!r}, which is not a key of a section.",
                next_step="Try train.dims.",
                key=key,
            )
        changed[section] = {**changed[section], name: value}
    return changed


def _require_known(metrics: tuple[str, ...], origin: str) -> None:
    from models.evaluation.ranking import METRICS

    for name in metrics:
        if name not in METRICS:
            raise InvalidConfig(
                f"{origin}: metrics: there is no metric {name!r}.",
                next_step=f"Choose from {', '.join(METRICS)}.",
                key="metrics",
            )
