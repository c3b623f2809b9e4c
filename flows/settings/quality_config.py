"""The settings of the quality table: how each family trains under each protocol."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import AfterValidator, Field

from flows.settings.settings_file import Section, read_yaml, validated
from flows.settings.training_config import Share
from models.errors import InvalidConfig
from models.evaluation.cold_start import COLD_STARTS, NEW_SILOS
from models.evaluation.protocols import PROTOCOLS
from models.kernel.settings import refuse_without_effect
from models.recommenders.additive.blend import BlendSpec
from models.recommenders.additive.ease import EaseSpec
from models.recommenders.additive.ials import IalsSpec
from models.recommenders.additive.next_item import NextItemSpec
from models.recommenders.lightfm.spec import OF_ROUNDS, LightFMSpec
from tasks.bench.quality.arms import Additive, BenchFamily, ItemToItem, LightFM
from tasks.bench.quality.baselines import NAMES, BaselineSpec
from tasks.bench.quality.table_rows import ARMS, QualityPlan


class LightFMSection(Section):
    """The settings of LightFM over one kind of clients."""

    moved: ClassVar = {
        "merge_rule": "train.merge_rule",
        "server_learning_rate": "train.server_learning_rate",
    }

    train: LightFMSpec = LightFMSpec()
    rounds: int = Field(30, ge=1, description="Number of merges.")
    cohort_share: Share = Field(1.0, description="Share of the clients selected for each round.")


def _without_rounds(spec: LightFMSpec) -> LightFMSpec:
    """Return the spec unchanged.

    Raises:
        InvalidConfig: it sets something that only rounds use. Training on data in one place has no rounds.
    """
    for name in sorted(OF_ROUNDS):
        refuse_without_effect(spec, name, "training", "in one place")
    return spec


class PooledSection(Section):
    """The settings of LightFM on pooled data, and in each silo alone."""

    train: Annotated[LightFMSpec, AfterValidator(_without_rounds)] = LightFMSpec()
    epochs: int = Field(30, ge=1, description="Passes over the data.")


class ProtocolSection(Section):
    """The settings of all families under one protocol."""

    seeds: tuple[int, ...] = Field(
        (1,), min_length=1, description="Seeds of families whose training is random."
    )
    one_user_clients: bool = Field(True, description="Also measure one client per user.")
    lightfm_silos: LightFMSection = LightFMSection()
    lightfm_users: LightFMSection = LightFMSection()
    lightfm_pooled: PooledSection = PooledSection()
    ials: IalsSpec = IalsSpec()
    ials_rounds: int = Field(8, ge=1, description="Alternations.")
    ease: EaseSpec = EaseSpec()
    next_item: NextItemSpec = NextItemSpec()
    blend: BlendSpec = BlendSpec()
    baselines: BaselineSpec = BaselineSpec()

    def families(self, lightfm: LightFMSection) -> tuple[BenchFamily, ...]:
        """Return all families, with these settings for LightFM."""
        return (
            LightFM(
                lightfm.train,
                lightfm.rounds,
                self.lightfm_pooled.train,
                self.lightfm_pooled.epochs,
                lightfm.cohort_share,
            ),
            Additive(self.ials, self.ials_rounds),
            ItemToItem(self.ease),
            ItemToItem(self.next_item),
            ItemToItem(self.blend),
        )


class QualityConfig(Section):
    """The settings of the quality table, by protocol."""

    leave_one_out: ProtocolSection
    random_70_30: ProtocolSection
    temporal_70_30: ProtocolSection


def load_quality_config(path: Path) -> QualityConfig:
    """Return the settings in a YAML file.

    Raises:
        InvalidConfig: the file cannot be read, a key is unknown, or a value is out of range.
    """
    return validated(QualityConfig, read_yaml(path, "The settings of the quality table"), str(path))


def plans(
    config: QualityConfig, *, quick: bool, protocols: Sequence[str] = (), families: Sequence[str] = ()
) -> list[QualityPlan]:
    """Return the plans of the measurements.

    Args:
        config: all settings.
        quick: measure only the first protocol over silos with one seed, and no silo alone.
        protocols, families: names to keep; empty keeps all. Baselines count as families.

    Raises:
        InvalidConfig: there is no such protocol or family.
    """
    known = {family.name for family in config.leave_one_out.families(LightFMSection())} | set(NAMES)
    _require(protocols, PROTOCOLS)
    _require(families, known)
    kept = list(protocols) or list(PROTOCOLS)
    found = []
    for name in kept[:1] if quick else kept:
        section: ProtocolSection = getattr(config, name)
        silos, users = (
            [each for each in section.families(lightfm) if not families or each.name in families]
            for lightfm in (section.lightfm_silos, section.lightfm_users)
        )
        found.append(
            QualityPlan(
                PROTOCOLS[name],
                silos,
                [] if quick or not section.one_user_clients else users,
                [each for each in NAMES if not families or each in families],
                section.baselines,
                section.seeds[:1] if quick else section.seeds,
                ARMS[:2] if quick else ARMS,
            )
        )
    return found


@dataclass(frozen=True)
class ColdStartPlan:
    """The plan of `fedrec bench cold-start`.

    Attributes:
        protocols: names of cold-start protocols.
        families: families with their settings.
        seeds: seeds of the families whose training is random.
    """

    protocols: Sequence[str]
    families: Sequence[BenchFamily]
    seeds: Sequence[int]


def cold_start_plan(
    config: QualityConfig, *, quick: bool, protocols: Sequence[str] = (), families: Sequence[str] = ()
) -> ColdStartPlan:
    """Return the plan, with the families' settings for leave-one-out over silos.

    Args:
        config: all settings.
        quick: measure with one seed, and without new silos, which need one training each.
        protocols, families: names to keep; empty keeps all.

    Raises:
        InvalidConfig: there is no such protocol or family.
    """
    section = config.leave_one_out
    every = section.families(section.lightfm_silos)
    _require(protocols, COLD_STARTS)
    _require(families, {family.name for family in every})
    usual = [name for name in COLD_STARTS if not (quick and name == NEW_SILOS.name)]
    return ColdStartPlan(
        list(protocols) or usual,
        [family for family in every if not families or family.name in families],
        section.seeds[:1] if quick else section.seeds,
    )


def _require(wanted: Sequence[str], names: Collection[str]) -> None:
    for name in wanted:
        if name not in names:
            raise InvalidConfig(
                f"{name!r} cannot be measured.", next_step=f"Choose from {', '.join(sorted(names))}."
            )
