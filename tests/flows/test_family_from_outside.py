"""A family that this file defines and registers, in a whole job: no other file knows of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
import pytest
from annotated_types import Ge

from flows.settings.training_config import TrainingConfig, parse_config
from models.errors import InvalidConfig, InvalidInput
from models.evaluation.ranking import ranking_metrics
from models.federation.model import ItemModel, require
from models.kernel.arrays import ArrayGroup, FloatArray
from models.kernel.histories import Histories
from models.kernel.metric import as_json, total, values
from models.recommenders.additive.ease import EaseStatistics
from models.recommenders.additive.family import AdditiveFamily
from models.recommenders.additive.item_to_item import ItemToItemFamily
from models.recommenders.base.family import Family, FamilySpec, Features
from models.recommenders.families.registry import forget_family, register_family
from models.recommenders.items.item_weights import ItemWeights
from models.recommenders.scoring.fold_in import Rows
from models.recommenders.scoring.reasons import Reason
from models.recommenders.scoring.scorer import HistoryScorer, Read, Scorer, ScorerParts
from tasks.bench.quality.evaluate_version import evaluate_version
from tasks.bundles.bundle import Labels, open_bundle, write_bundle
from tasks.datasets.partition_reader import open_partition
from tasks.local.home import Home
from tasks.scoring.recommend import answer, recommender_of
from tasks.tracking import registry
from tasks.tuning.trial import open_clients
from tests.worlds.small_jobs import small_job

CLIENTS = ["ash", "birch", "cedar"]


@dataclass(frozen=True)
class PopularitySpec:
    """How popularity is learned.

    Attributes:
        damping: users that every item is taken to have had before; they lessen the differences.
        family: names this way to train.
    """

    damping: Annotated[float, Ge(0)] = 1.0
    family: Literal["popularity"] = "popularity"


@dataclass(frozen=True)
class Popularity(ItemModel):
    """How much each item is liked by everybody.

    Attributes:
        liking: (items,) float32.
    """

    AXES: ClassVar[Mapping[str, str]] = {"liking": "items"}

    liking: FloatArray

    @property
    def vectors(self) -> FloatArray:
        """(items, 1): the same."""
        return self.liking[:, np.newaxis]


@dataclass(frozen=True)
class UseCounts(ArrayGroup):
    """How many of a client's users used each item: (items,) float32."""

    AXES: ClassVar[Mapping[str, str]] = {"uses": "items"}
    GROWING: ClassVar[frozenset[str]] = frozenset({"uses"})

    uses: FloatArray


@dataclass(frozen=True)
class PopularScores:
    """The same scores for every history, for a reason that is the same, too."""

    scores: FloatArray

    def reasons(self, rows: Rows, most: int) -> list[tuple[Reason, ...]]:
        return [(Reason(None, "popularity", 1.0),) for _ in rows]


@dataclass(frozen=True)
class PopularityScorer(HistoryScorer):
    """Recommends what everybody likes."""

    KIND: ClassVar[str] = "popularity"

    liking: FloatArray

    def __len__(self) -> int:
        return len(self.liking)

    def scored(self, rows: np.ndarray, counts: np.ndarray) -> PopularScores:
        return PopularScores(self.liking)

    def similarities(self, row: int) -> FloatArray:
        return np.ones(len(self), dtype=np.float32)

    def directions(self, rows: Rows) -> FloatArray:
        return np.ones((len(rows), 1), dtype=np.float32)

    def parts(self) -> ScorerParts:
        return ScorerParts({}, {"liking": self.liking})

    @classmethod
    def of_parts(cls, settings: Mapping[str, Any], items: int, dims: int, read: Read) -> Self:
        return cls(read("liking", (items,)))


@dataclass(frozen=True)
class PopularityFamily(AdditiveFamily[Popularity, UseCounts]):
    """Popularity: users are counted."""

    spec_type: ClassVar[type[FamilySpec]] = PopularitySpec
    model_type: ClassVar[type[ItemModel]] = Popularity
    contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (UseCounts,)
    scorer_type: ClassVar[type[Scorer]] = PopularityScorer
    is_iterative: ClassVar[bool] = False

    spec: PopularitySpec

    def initial(self, n_items: int, seed: int) -> Popularity:
        return Popularity(np.zeros(n_items, dtype=np.float32))

    def nothing(self, n_items: int) -> UseCounts:
        return UseCounts(np.zeros(n_items, dtype=np.float32))

    def statistics(self, base: Popularity, histories: Histories) -> UseCounts:
        counts = np.bincount(histories.items, minlength=histories.n_items)
        return UseCounts(counts.astype(np.float32))

    def solve(self, total: UseCounts, n_items: int) -> Popularity:
        return Popularity(np.log((total.uses + self.spec.damping) / self.spec.damping))

    @classmethod
    def scorer(cls, items: ItemModel, features: Features | None = None) -> PopularityScorer:
        return PopularityScorer(require(items, Popularity).liking)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    """The one registration. It ends with the test, as other tests list all families."""
    register_family(PopularityFamily)
    yield
    forget_family(PopularityFamily)


def small(partition: Path, **train: Any) -> TrainingConfig:
    evaluation = {"silo_only": True, "pooling_allowed": True}
    raw = small_job(partition, evaluation=evaluation).model_dump(mode="json")
    return parse_config(raw | {"train": {"family": "popularity"} | train}, "the test")


def counted(partition: Path) -> np.ndarray:
    """Return how many users of all silos have each item in training, counted one by one."""
    opened, found = open_partition(partition), np.zeros(40)
    for silo in open_clients(opened, 0, 9).values():
        for item in silo.split.train_items.tolist():
            found[item] += 1
    return found


def test_a_family_from_outside_is_trained_evaluated_registered_and_answers(
    prefect_server: None, mlflow_home: Home, partition_dir: Path, tmp_path: Path
) -> None:
    from mlflow.tracking import MlflowClient

    from flows.train import run_locally

    result, exit_code = run_locally(small(partition_dir, damping=2.0))

    assert exit_code == 0
    assert [each.accepted for each in result.rounds] == [tuple(CLIENTS)]
    expected = np.log(1 + counted(partition_dir) / 2)
    version = registry.load_version(registry.open_registry(mlflow_home), "small-model", "1")
    model = version.model().items
    assert isinstance(model, Popularity)
    assert model.liking == pytest.approx(expected, rel=1e-6)

    silos = open_clients(open_partition(partition_dir), 0, 9).values()
    metrics = values(
        as_json(
            total(
                ranking_metrics(silo.ranks(lambda users: np.tile(expected, (len(users), 1)), "test"))
                for silo in silos
            )
        )
    )
    final = result.to_json()["final"]
    # Counts add, so that the federation knows what pooled training knows.
    assert final["federated"] == pytest.approx(metrics)
    assert final["centralised"] == pytest.approx(metrics)
    shown = evaluate_version(mlflow_home, str(partition_dir), "small-model", "1", "test", seed=0, negatives=9)
    assert shown["metrics"]["hr@10"]["value"] == pytest.approx(metrics["hr@10"])

    MlflowClient().set_registered_model_alias("small-model", "champion", "1")
    told = answer(mlflow_home, "Film 000", 5)
    # The catalogue's rows are in the order of the ids; among equals the lower row comes first.
    best = [f"i{row:03d}" for row in np.argsort(-expected, kind="stable").tolist() if row != 0][:5]
    assert [one["item_id"] for one in told["recommendations"]] == best
    assert {one["kind"] for each in told["recommendations"] for one in each["because"]} <= {"popularity"}

    recommender = recommender_of(version)
    facts = {"dims": model.shape[1]}
    ids, titles = recommender.item_ids, recommender.titles
    digest = write_bundle(tmp_path / "bundle", facts, recommender.scorer, ids, titles, Labels.of(40, {}))
    served = open_bundle(tmp_path / "bundle", digest).recommender
    assert isinstance(served.scorer, PopularityScorer)
    assert served.recommend([0], 5) == recommender.recommend([0], 5)


def test_its_section_of_the_configuration_is_checked_as_any_other(partition_dir: Path) -> None:
    config = small(partition_dir, damping=3)
    assert config.train == PopularitySpec(3.0)
    assert parse_config(json.loads(config.model_dump_json()), "the test") == config
    with pytest.raises(InvalidConfig, match=r"train\.damping: .*greater than or equal to 0") as caught:
        small(partition_dir, damping=-1)
    assert caught.value.facts["key"] == "train.damping"
    with pytest.raises(InvalidConfig, match=r"unknown key train\.dumping") as caught:
        small(partition_dir, dumping=1)
    assert caught.value.next_step == "Did you mean train.damping?"
    with pytest.raises(InvalidConfig, match="start_from 'champion' has no effect"):
        parse_config(config.model_dump(mode="json") | {"start_from": "champion"}, "the test")
    forget_family(PopularityFamily)
    with pytest.raises(InvalidConfig, match=r"no family 'popularity'.*lightfm, ials, ease"):
        small(partition_dir)


def test_the_form_of_a_deployment_offers_it(prefect_server: None) -> None:
    from flows.deployments.parameter_form import parameter_form
    from flows.train import federated_training

    definitions = parameter_form(federated_training)["definitions"]
    assert definitions["PopularitySpec"]["description"] == "How popularity is learned."
    assert "lessen the differences" in definitions["PopularitySpec"]["properties"]["damping"]["description"]
    listed = [each["$ref"] for each in definitions["TrainingConfig"]["properties"]["train"]["anyOf"]]
    assert listed[-1].endswith("/PopularitySpec")
    forget_family(PopularityFamily)
    assert "PopularitySpec" not in parameter_form(federated_training)["definitions"]


class TestRegistration:
    """What cannot be told apart later is refused at once."""

    def test_of_another_class_of_a_known_name_is_refused(self) -> None:
        class Namesake(PopularityFamily):
            pass

        with pytest.raises(InvalidInput, match="a family of the name 'popularity'"):
            register_family(Namesake)
        assert register_family(PopularityFamily) is PopularityFamily

    @pytest.mark.parametrize("role", ["model_type", "contribution_types"])
    def test_of_arrays_that_another_family_names_alike_is_refused(self, role: str) -> None:
        namesake = {
            "model_type": dataclass_of(ItemWeights.AXES, ItemModel),
            "contribution_types": (dataclass_of(EaseStatistics.AXES, ArrayGroup),),
        }
        family = another(role=namesake[role], attribute=role)
        with pytest.raises(InvalidInput, match="could not be distinguished"):
            register_family(family)

    def test_of_a_model_whose_axes_are_not_all_named_is_refused(self) -> None:
        @dataclass(frozen=True)
        class Unnamed(ItemModel):
            AXES: ClassVar[Mapping[str, str]] = {"likes": "items"}

            likes: FloatArray
            more: FloatArray

        with pytest.raises(InvalidInput, match="AXES names"):
            register_family(another(role=Unnamed, attribute="model_type"))

    def test_of_a_second_way_to_answer_by_one_type_of_models_is_refused(self) -> None:
        @dataclass(frozen=True)
        class Otherwise(ItemToItemFamily[UseCounts]):
            spec_type: ClassVar[type[FamilySpec]] = OtherSpec
            contribution_types: ClassVar[tuple[type[ArrayGroup], ...]] = (UseCounts,)

            @classmethod
            def history_scores(cls, items: ItemModel, histories: Histories) -> Callable[..., Any]:
                return lambda users: np.zeros((len(users), histories.n_items))

        with pytest.raises(InvalidInput, match="score with them differently"):
            register_family(Otherwise)  # type: ignore[type-abstract]


@dataclass(frozen=True)
class OtherSpec:
    """Another family's."""

    family: Literal["other"] = "other"


def another(role: Any, attribute: str) -> type[Family]:
    """A family of another name, with this for that attribute."""
    return type("Another", (PopularityFamily,), {"spec_type": OtherSpec, attribute: role})


def dataclass_of(axes: Mapping[str, str], base: type[ArrayGroup]) -> type[ArrayGroup]:
    """A class of arrays with these names."""
    return dataclass(frozen=True)(
        type("Namesake", (base,), {"AXES": axes, "__annotations__": dict.fromkeys(axes, FloatArray)})
    )
