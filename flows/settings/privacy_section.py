"""The settings of privacy: secure sums, noise and a budget for it, and what they refuse beside them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field

from flows.settings.settings_file import Section
from models.errors import InvalidConfig
from models.recommenders.families.registry import families, family_of

if TYPE_CHECKING:
    from flows.settings.training_config import TrainingConfig

Config = TypeVar("Config", bound="TrainingConfig")

# Settings of the budget. They decide whether a job may train, and nothing of its result.
BUDGET_KEYS = ("budget", "period", "account")
# A promise that fails more often than in one of a thousand cases is none.
_LARGEST_DELTA = 1e-3


class PrivacySection(Section):
    """What may be learned of the data: by the coordinator, and from the model."""

    secure_sum: bool = Field(
        False, description="Whether clients mask what they send, so that only the sum over all can be read."
    )
    max_weight: int = Field(
        1 << 20, ge=1, description="The greatest weight of a client in a secure sum, for weighted_mean."
    )
    unit: Literal["user"] | None = Field(
        None,
        description="Who is protected by differential privacy: each user with all interactions. If empty, "
        "clients add no noise.",
    )
    epsilon: float | None = Field(
        None, gt=0, le=100, description="The epsilon that a job spends on its model and its figures."
    )
    delta: float = Field(
        1e-5,
        gt=0,
        lt=1,
        description="The probability with which differential privacy may fail: well below one over the "
        "users, and at most 0.001.",
    )
    budget: float | None = Field(
        None,
        gt=0,
        description="The epsilon that all jobs of the account may spend together within a period. A job that "
        "would spend more does not train. Needed with a unit.",
    )
    period: Literal["ever", "year", "month"] = Field(
        "ever", description="What the budget is for: all time, or a calendar year or month in UTC."
    )
    account: str = Field(
        "users",
        pattern=r"^[a-z0-9][a-z0-9-]{0,63}$",
        description="The account that is charged. It stands for the people who may be in the data, so data "
        "of the same people need the same account.",
    )
    figures_share: float = Field(
        0.1,
        ge=0,
        lt=1,
        description="Share of the privacy loss for the evaluations, which are sums with noise. With 0 "
        "nothing is evaluated.",
    )


def without_models_alone(config: Config) -> Config:
    """Return the configuration without models of silos alone if it asks for noise and does not name them."""
    evaluation = config.evaluation
    if config.privacy.unit is None or "silo_only" in evaluation.model_fields_set:
        return config
    return config.model_copy(update={"evaluation": evaluation.model_copy(update={"silo_only": False})})


def require_private(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` at the first setting with which noise could not keep its promise.

    Args:
        config: a valid configuration.
        origin: its name in errors.
    """
    for key, what, next_step in (*_incomplete(config), *_contradicting(config)):
        raise InvalidConfig(f"{origin}: {key}: {what}", next_step=next_step, key=key)


def without_unit(config: TrainingConfig) -> Iterator[tuple[str, str]]:
    """Yield the settings that have no effect if nobody is protected, and those of absent evaluations."""
    if config.privacy.unit is None:
        for name in ("delta", *BUDGET_KEYS, "figures_share"):
            yield f"privacy.{name}", "privacy.unit"
        return
    # Clients that add noise tell no numbers of interactions.
    yield "contracts.updates.min_interactions", "privacy.unit"
    if not config.privacy.figures_share:
        for name in ("every", "negatives", "users_share"):
            yield f"evaluation.{name}", "privacy.figures_share"


def _incomplete(config: TrainingConfig) -> Iterator[tuple[str, str, str]]:
    """Yield key, fault and next step of a unit without an epsilon, or the other way round."""
    privacy = config.privacy
    if privacy.unit is None and privacy.epsilon is not None:
        yield (
            "privacy.unit",
            f"privacy.epsilon {privacy.epsilon:g} does not say who is protected.",
            "Set privacy.unit: user, or leave privacy.epsilon out.",
        )
    if privacy.unit is not None and privacy.epsilon is None:
        yield (
            "privacy.epsilon",
            f"privacy.unit {privacy.unit!r} does not say how much may be learned of one.",
            "Set privacy.epsilon, such as 1.0, or leave privacy.unit out.",
        )
    if privacy.unit is not None and privacy.budget is None:
        yield (
            "privacy.budget",
            f"privacy.unit {privacy.unit!r} does not say how much all jobs together may learn of one.",
            "Set privacy.budget, at least privacy.epsilon.",
        )


def _contradicting(config: TrainingConfig) -> Iterator[tuple[str, str, str]]:
    """Yield key, fault and next step of each setting that does not go with noise."""
    privacy, federation, evaluation = config.privacy, config.federation, config.evaluation
    if privacy.unit is None or privacy.epsilon is None:
        return
    unit = f"privacy.unit {privacy.unit!r}"
    if family_of(config.train).unit_noise(1) is None:
        yield (
            "train.family",
            f"{config.train.family!r} bounds no user's part in a contribution, so no noise can hide it, as "
            f"{unit} asks.",
            f"Choose a family that does ({_bounded()}), or leave privacy.unit out.",
        )
    if not federation.robust.is_plain:
        yield (
            "federation.robust.method",
            f"{federation.robust.method!r} compares single vectors, and with {unit} only the sum over all "
            "has the noise that hides a user.",
            "Set federation.robust.method: none.",
        )
    if config.postprocessors:
        yield (
            "postprocessors",
            f"with {unit} nothing may change a contribution after its users' parts were bounded.",
            "Set postprocessors: [].",
        )
    if federation.cohort_share < 1:
        yield (
            "federation.cohort_share",
            f"{federation.cohort_share} leaves clients out, and with {unit} each round's noise is shared by "
            "all.",
            "Set federation.cohort_share: 1.0.",
        )
    if config.start_from == "champion":
        yield (
            "start_from",
            f"a champion may hold what an earlier training learned without noise, so {unit} cannot answer "
            "for it.",
            "Set start_from: fresh.",
        )
    for name in ("silo_only", "pooling_allowed"):
        if getattr(evaluation, name):
            yield (
                f"evaluation.{name}",
                f"its figures come from models without noise, which {unit} does not allow.",
                f"Set evaluation.{name}: false.",
            )
    if privacy.delta > _LARGEST_DELTA:
        yield (
            "privacy.delta",
            f"with a probability of {privacy.delta:g} the promise may fail and tell everything of a user, "
            f"expected at most {_LARGEST_DELTA:g}.",
            "Choose a delta well below one over the number of users, such as privacy.delta: 1.0e-5.",
        )
    yield from _telling_more(config, unit)
    if privacy.budget is not None and privacy.budget < privacy.epsilon:
        yield (
            "privacy.budget",
            f"{privacy.budget:g} is below privacy.epsilon {privacy.epsilon:g}, so no job could ever train.",
            "Raise privacy.budget, or lower privacy.epsilon.",
        )
    if privacy.figures_share and evaluation.every < federation.rounds:
        yield (
            "evaluation.every",
            f"{evaluation.every} evaluates more than once in {federation.rounds} rounds, and with {unit} "
            "privacy.figures_share pays for one evaluation on the validation cases.",
            f"Set evaluation.every to at least {federation.rounds}, which evaluates the last round.",
        )


def _telling_more(config: TrainingConfig, unit: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, fault and next step of each setting with which a job would release more than it is charged.

    Users' parts are whole numbers of the family's steps. Rounding their sum to coarser ones may change as
    many values by a whole step as a user has items, whatever the length of its part.
    """
    family, rounds = family_of(config.train), config.federation.rounds
    if not family.is_iterative and rounds > 1:
        yield (
            "federation.rounds",
            f"clients of train.family {config.train.family!r} contribute the same statistics in each of "
            f"{rounds} rounds, and with {unit} the job is charged for one noise upon them.",
            "Set federation.rounds to 1. More rounds give the same model.",
        )
    own = family.rule().ranges
    for name, range_ in config.fixed_point.items():
        if name in own and range_.step > own[name].step:
            yield (
                f"fixed_point.{name}",
                f"its step {range_.step:g} is coarser than the family's {own[name].step:g}, and rounding to "
                f"it changes more of a sum than one user may, as {unit} promises.",
                f"Choose a step of at most {own[name].step:g}, or leave it out.",
            )


def _bounded() -> str:
    found = []
    for kind in families():
        if kind(kind.spec_type(**kind.bounding)).unit_noise(1) is not None:
            settings = " and ".join(f"train.{name}: {value}" for name, value in kind.bounding.items())
            found.append(f"{kind.name()} with {settings}" if settings else kind.name())
    return ", ".join(found) or "none is installed"
