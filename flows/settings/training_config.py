"""The configuration of a training job: typed, documented, and strict about unknown keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, ModelWrapValidatorHandler, field_validator, model_validator

from data_contracts.embeddings import EmbeddingLimits
from data_contracts.interactions import InteractionLimits
from data_contracts.updates import UpdateLimits
from flows.settings.family_section import FamilySection
from flows.settings.overrides import apply_override
from flows.settings.passwords import ITS_PLACE, holds_password
from flows.settings.planned_rounds import with_planned_rounds, without_nulls
from flows.settings.postprocessor_list import PostprocessorList
from flows.settings.privacy_section import (
    BUDGET_KEYS,
    PrivacySection,
    require_private,
    without_models_alone,
)
from flows.settings.settings_file import Section, absolute_folder, read_yaml, validated
from flows.settings.without_effect import refuse_without_effect
from models.errors import InvalidConfig
from models.federation.robust_merge import LEAST_IN_SUM, RobustMerge
from models.kernel.ranges import Range
from models.recommenders.base.family import FamilySpec
from models.recommenders.families.registry import family_of
from models.recommenders.lightfm.spec import LightFMSpec

Share = Annotated[float, Field(gt=0, le=1)]


class DataSection(Section):
    """The training data."""

    dir: str | None = Field(None, description="Folder of a partition. $FEDREC_HOME stands for fedrec's home.")
    items: str | None = Field(
        None, description="The item catalogue, if the clients are silos that keep the data."
    )


class FederationSection(Section):
    """How the clients work together."""

    rounds: int = Field(
        30,
        ge=1,
        description="Number of merges. If it is left out, a fresh LightFM of all clients trains 30 epochs "
        "with early merges and a cooldown, which is 65 rounds.",
    )
    cohort_share: Share = Field(1.0, description="Share of the clients selected for each round.")
    quorum_share: float = Field(
        0.5, ge=0, le=1, description="Share of the selected clients that must send an update."
    )
    deadline_s: float = Field(300.0, gt=0, description="Seconds that a round waits for its clients.")
    robust: RobustMerge = RobustMerge()


class EvaluationSection(Section):
    """The evaluation on held-out interactions."""

    every: int = Field(5, ge=1, description="Rounds between evaluations on the validation cases.")
    negatives: int = Field(99, ge=1, description="Sampled items that a held-out one is ranked against.")
    users_share: Share = Field(1.0, description="Share of the users whose held-out cases are evaluated.")
    seed: int = Field(
        0, ge=0, description="Seed of the sampled negatives. Use the same in all jobs that are compared."
    )
    silo_only: bool = Field(
        True,
        description="Compare with each silo training alone. With privacy.unit no such models are made.",
    )
    pooling_allowed: bool = Field(
        False,
        description="Compare with training on the pooled data. Set this only if the data may be pooled.",
    )


class ContractsSection(Section):
    """Limits of the data contracts."""

    interactions: InteractionLimits = InteractionLimits()
    updates: UpdateLimits = UpdateLimits()
    embeddings: EmbeddingLimits = EmbeddingLimits()


class RunnerSection(Section):
    """Where the clients' steps run. This does not change the results."""

    kind: Literal["threads", "dask", "ray", "silos", "gateway"] = Field(
        "threads",
        description="Threads of this process, processes of a Dask or Ray cluster, silos with their own "
        "Prefect workers, or silos behind the gateway.",
    )
    threads: int | None = Field(
        None, ge=1, description="Number of clients that train at once; one per core if empty."
    )
    address: str | None = Field(
        None,
        description="Address of Dask's scheduler or Ray's head; processes of this machine if empty.",
    )
    processes: int | None = Field(
        None, ge=1, description="Number of processes of this machine for dask or ray; one per core if empty."
    )
    client_tasks: int = Field(
        8,
        ge=0,
        description="Number of clients up to which each has a Prefect task of its own in a step. "
        "More clients share a few tasks, as they always do on clusters. Silos always have runs of their own.",
    )
    silos: tuple[str, ...] = Field((), description="Names of the silos that take part.")
    exchange: str | None = Field(
        None,
        description="URL of the folder shared with silos or a cluster; a folder below FEDREC_HOME if empty.",
    )
    poll_s: float = Field(0.5, gt=0, description="Seconds between two checks of the silos' progress.")
    orders: str | None = Field(
        None,
        description="SQLAlchemy URL of the database of the gateway's orders, without a password. If empty, "
        "the one in FEDREC_ORDERS, or else a file below FEDREC_HOME.",
    )
    away_s: float = Field(
        120.0,
        ge=0,
        description="Seconds for which Prefect's server may be unavailable while orders are sent.",
    )
    lease_s: float = Field(
        15.0, gt=0, description="Seconds without a beat after which another process may take the job over."
    )
    system_metrics: bool = Field(
        False, description="Log this machine's processor, memory, disk and network with each round."
    )

    @field_validator("orders")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        if url and holds_password(url):
            raise ValueError(f"contains a password, which Prefect and MLflow would show. {ITS_PLACE}")
        return url

    @property
    def has_silos(self) -> bool:
        """Whether the clients are silos on other machines, which keep the data."""
        return self.kind in ("silos", "gateway")


class TrainingConfig(Section):
    """The configuration of a training job."""

    moved: ClassVar = {
        "federation.merge_rule": "train.merge_rule",
        "federation.server_learning_rate": "train.server_learning_rate",
    }

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$", description="Name of the job, in lower case.")
    model_name: str = Field(
        pattern=r"^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$", description="The registered model."
    )
    seed: int = Field(1, ge=0, description="Seed of all randomness of the training.")
    start_from: Literal["fresh", "champion"] = Field(
        "fresh", description="Start from a random model, or from the champion and its user embeddings."
    )
    data: DataSection
    train: Annotated[FamilySpec, FamilySection()] = Field(
        LightFMSpec(), description="The family of recommenders and how it is trained."
    )
    federation: FederationSection = FederationSection()
    postprocessors: PostprocessorList = Field(
        (),
        description="Changes of contributions: clients apply first to last, the server last to first.",
    )
    privacy: PrivacySection = PrivacySection()
    fixed_point: dict[str, Range] = Field(
        {},
        description="Ranges to which arrays of contributions are rounded, in place of the family's.",
    )
    evaluation: EvaluationSection = EvaluationSection()
    contracts: ContractsSection = ContractsSection()
    runner: RunnerSection = RunnerSection()

    @model_validator(mode="wrap")
    @classmethod
    def _plan_rounds(cls, raw: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Let the family plan the rounds of a job that leaves them out."""
        if not isinstance(raw, Mapping):
            return handler(raw)
        given = without_nulls(raw)
        return without_models_alone(with_planned_rounds(handler(given), given))

    def deciding(self, *, rounds: bool = True) -> dict[str, Any]:
        """Return the settings that determine the result, as JSON values.

        These are all but places, parallelism, and the privacy budget that a job is held to.

        Args:
            rounds: whether the number of rounds is among them.
        """
        left_out: dict[str, Any] = {"runner": True, "data": True, "privacy": {*BUDGET_KEYS}}
        return self.model_dump(
            mode="json", exclude=left_out if rounds else left_out | {"federation": {"rounds"}}
        )


def load_config(path: Path, overrides: Iterable[str] = ()) -> TrainingConfig:
    """Return the configuration in a YAML file, with overrides.

    Args:
        path: the file.
        overrides: `key=value` with dotted keys, such as `train.dims=64`; values are YAML.

    Raises:
        InvalidConfig: the file cannot be read, a key is unknown, or a value is out of range.
    """
    raw, overrides = read_yaml(path, "The configuration"), tuple(overrides)
    for override in overrides:
        apply_override(raw, override)
    try:
        return parse_config(raw, str(path))
    except InvalidConfig as error:
        if error.facts.get("key") not in {each.partition("=")[0] for each in overrides}:
            raise
        # The file is not at fault.
        what = f"--set{error.what.removeprefix(str(path))}"
        raise InvalidConfig(what, next_step=error.next_step, **error.facts) from error


def parse_config(raw: Mapping[str, Any], origin: str) -> TrainingConfig:
    """Return the configuration that these JSON values describe.

    Args:
        raw: nested keys and values.
        origin: their name in errors.

    Raises:
        InvalidConfig: a key is unknown, a value is out of range, or a value has no effect with the others.
    """
    config = validated(TrainingConfig, raw, origin)
    data = _absolute_data(config, origin)
    _require_iterative(config, origin)
    _require_poolable(config, origin)
    _require_arrays(config, origin)
    _require_all_rows(config, origin)
    _require_one_sum(config, origin)
    # Before the groups of a robust merge, which noise does not allow at all.
    require_private(config, origin)
    _require_groups(config, origin)
    refuse_without_effect(config, origin)
    return config.model_copy(update={"data": data})


def _absolute_data(config: TrainingConfig, origin: str) -> DataSection:
    """Return the data section with absolute paths.

    Raises:
        InvalidConfig: the kind of runner needs the other key, or both are set.
    """
    wanted, other = ("items", "dir") if config.runner.has_silos else ("dir", "items")
    path = getattr(config.data, wanted)
    if path is None or getattr(config.data, other) is not None:
        raise InvalidConfig(
            f"{origin}: with runner.kind {config.runner.kind!r} only data.{wanted} names the data.",
            next_step=f"Set data.{wanted}, and remove data.{other}.",
            key=f"data.{wanted}",
        )
    return DataSection.model_validate({wanted: str(absolute_folder(path))})


def _require_iterative(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` if the job starts from the champion but its family uses no earlier model."""
    if config.start_from == "champion" and not family_of(config.train).is_iterative:
        raise InvalidConfig(
            f"{origin}: start_from 'champion' has no effect with train.family {config.train.family!r}: each "
            "round solves for a new model from the clients' statistics alone.",
            next_step="Set start_from: fresh.",
            key="start_from",
        )


def _require_arrays(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` if a range belongs to no array of the family's contributions."""
    family = family_of(config.train)
    known = {name for kind in family.contribution_types for name in kind.names()}
    for name in config.fixed_point:
        if name not in known:
            raise InvalidConfig(
                f"{origin}: fixed_point.{name}: the contributions of train.family {config.train.family!r} "
                f"have no array {name!r}.",
                next_step=f"Its arrays: {', '.join(sorted(known))}.",
                key=f"fixed_point.{name}",
            )


def _require_all_rows(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` if masked updates should leave out rows: which ones would have to be agreed."""
    spec = config.train
    if config.privacy.secure_sum and isinstance(spec, LightFMSpec) and spec.sent_rows < 1.0:
        raise InvalidConfig(
            f"{origin}: train.sent_rows {spec.sent_rows} saves nothing with privacy.secure_sum: a masked "
            "update has all rows.",
            next_step="Leave train.sent_rows at 1.0, and lower train.sent_bits.",
            key="train.sent_rows",
        )


def _require_groups(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` if a robust merge would need secure sums of too few clients."""
    robust = config.federation.robust
    if config.privacy.secure_sum and not robust.is_plain and robust.group < LEAST_IN_SUM:
        raise InvalidConfig(
            f"{origin}: federation.robust.method {robust.method!r} compares the sums of groups, and with "
            f"privacy.secure_sum true a group of {robust.group} hides too little: the sum of one client is "
            "its update, and the sum of two shows each the update of the other.",
            next_step=f"Set federation.robust.group to at least {LEAST_IN_SUM}.",
            key="federation.robust.group",
        )


def _require_one_sum(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` if secure sums would have equal summands, which their differences tell."""
    rounds = config.federation.rounds
    if config.privacy.secure_sum and not family_of(config.train).is_iterative and rounds > 1:
        raise InvalidConfig(
            f"{origin}: federation.rounds {rounds}: clients of train.family {config.train.family!r} "
            "contribute the same statistics in each round. If a silo falls silent in one of them, the "
            "difference of two sums is what it contributed.",
            next_step="Set federation.rounds to 1. More rounds give the same model.",
            key="federation.rounds",
        )


def _require_poolable(config: TrainingConfig, origin: str) -> None:
    """Raise `InvalidConfig` if pooling is allowed but the data are not in one place."""
    if config.runner.has_silos and config.evaluation.pooling_allowed:
        raise InvalidConfig(
            f"{origin}: evaluation.pooling_allowed needs the data in one place, but runner.kind is "
            f"{config.runner.kind!r}.",
            next_step="Set evaluation.pooling_allowed to false.",
            key="evaluation.pooling_allowed",
        )
