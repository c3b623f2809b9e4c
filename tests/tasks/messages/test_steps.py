"""Orders and answers as JSON: they are read as written, and malformed ones are refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from data_contracts.interactions import InteractionLimits
from data_contracts.outcome import ContractOutcome
from models.errors import FedrecError, InvalidInput
from models.kernel.metric import Metric
from models.kernel.ranges import Range
from models.privacy.noise_plan import NoisePlan
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.exchange.layout import silo_answers_folder, silo_updates_folder
from tasks.exchange.store import ArtifactRef
from tasks.messages.answers import Checked, ClientEvaluation, Delivery, answer_as_json, answer_of_json
from tasks.messages.orders import ClientOrder, JobContext, ModelStep, StartingPoint
from tasks.messages.steps import StepOrder
from tests.worlds.postprocessors import Times

JOB = JobContext(
    job_id="towns-1",
    seed=7,
    spec=LightFMSpec(dims=4),
    exchange_url="file:///x",
    data_dir="/data",
    data_digest="d" * 64,
    silos_dir="/silos",
    evaluation_seed=5,
    negatives=20,
)
REF = ArtifactRef("silos/ash/towns-1/updates/000003/" + "a" * 64, "a" * 64, 12)
ORDER = ClientOrder(JOB, "ash", 3, ArtifactRef("towns-1/models/m", "b" * 64, 99), StartingPoint("towns-1", 2))
STEP = ModelStep(ArtifactRef("towns-1/models/l", "a" * 64, 98), ArtifactRef("towns-1/steps/m", "d" * 64, 30))
ITEMS = {"items": asdict(ArtifactRef("towns-1/catalog/c", "c" * 64, 5))}
LIMITS = InteractionLimits()
RANGE = {"lowest": -4, "highest": 7, "step": 0.25}


def through_json(value: Any) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize(
    "asked",
    [
        StepOrder("train", ORDER),
        StepOrder(
            "train", replace(ORDER, job=replace(JOB, cohort=3, postprocessors=(Times(4.0), Times(0.5))))
        ),
        StepOrder("train", replace(ORDER, job=replace(JOB, noise=NoisePlan(3.73, 15, 0.1), delta=1e-5))),
        StepOrder("evaluate", replace(ORDER, start=StartingPoint(None, 0))),
        StepOrder("train", replace(ORDER, kept=(1, 4))),
        StepOrder("train", replace(ORDER, base_step=STEP)),
        StepOrder("train", replace(ORDER, job=replace(JOB, ranges={"biases": Range(-4, 7, 0.25)}))),
        StepOrder(
            "evaluate",
            replace(ORDER, job=replace(JOB, earlier_jobs=("towns-0", "older-1"), earlier_records=(1, 1))),
        ),
        StepOrder(
            "compare", replace(ORDER, start=StartingPoint("older-1", 9, exact=False)), {"alone_rounds": 5}
        ),
        StepOrder("check", ORDER, {"limits": asdict(LIMITS), **ITEMS}),
    ],
    ids=lambda asked: asked.step,
)
def test_an_order_is_read_as_it_was_written(asked: StepOrder) -> None:
    again = StepOrder.of_json(through_json(asked.as_json()))
    assert again == replace(asked, arguments=through_json(dict(asked.arguments)))
    if asked.step == "check":
        assert again.limits == LIMITS


def changed(*path: str, to: Any) -> dict[str, Any]:
    """Return the JSON of an order with one part changed, or without it if `to` is `...`."""
    value: dict[str, Any] = through_json(StepOrder("train", ORDER).as_json())
    inner = value
    for name in path[:-1]:
        inner = inner[name]
    if to is ...:
        del inner[path[-1]]
    else:
        inner[path[-1]] = to
    return value


@pytest.mark.parametrize("step", ["steal", "", None, ["train"], "Train"])
def test_an_unknown_step_is_refused(step: Any) -> None:
    with pytest.raises(InvalidInput, match="expected one of"):
        StepOrder.of_json(changed("step", to=step))


def test_an_unknown_postprocessor_is_refused_by_its_name() -> None:
    value = changed("order", "job", "postprocessors", to=[{"name": "test-blur"}])
    with pytest.raises(InvalidInput, match=r"there is no postprocessor 'test-blur', only .*test-times"):
        StepOrder.of_json(value)


@pytest.mark.parametrize("job_id", ["../x", "a/b", "/etc", "", ".", "..", "a\n", "A", "-a", "a" * 129])
@pytest.mark.parametrize("path", ["job_id", "earlier_jobs", "start"])
def test_a_job_s_id_cannot_lead_out_of_its_folder(path: str, job_id: str) -> None:
    value = {
        "job_id": changed("order", "job", "job_id", to=job_id),
        "earlier_jobs": changed("order", "job", "earlier_jobs", to=["towns-0", job_id]),
        "start": changed("order", "start", "job_id", to=job_id),
    }[path]
    with pytest.raises(InvalidInput, match="is not a job id"):
        StepOrder.of_json(value)


@pytest.mark.parametrize(
    "value",
    [
        *(changed(name, to=...) for name in ("step", "order", "arguments")),
        *(changed("order", name, to=...) for name in ("job", "client_id", "round", "base", "start")),
        *(changed("order", "job", name, to=...) for name in asdict(JOB)),
        *(changed("order", "base", name, to=...) for name in ("path", "sha256", "size")),
        changed("order", "job", "more", to=1),
        changed("order", "job", "spec", to={"dims": 4, "unknown": 1}),
        changed("order", "job", "cohort", to=-1),
        changed("order", "job", "postprocessors", to=None),
        changed("order", "job", "postprocessors", to=["test-times"]),
        changed("order", "job", "postprocessors", to=[{"name": "test-times", "more": 1}]),
        changed("order", "job", "ranges", to=None),
        changed("order", "job", "ranges", to=[RANGE]),
        changed("order", "job", "ranges", to={"biases": None}),
        changed("order", "job", "ranges", to={"biases": RANGE | {"more": 1}}),
        changed("order", "job", "ranges", to={"biases": RANGE | {"step": 0.3}}),
        changed("order", "job", "ranges", to={"biases": RANGE | {"lowest": 1}}),
        changed("order", "job", "ranges", to={"biases": RANGE | {"highest": 7.5}}),
        changed("order", "job", "ranges", to={"biases": RANGE | {"highest": "7"}}),
        changed("order", "job", "ranges", to={"biases": {"lowest": -4, "step": 0.25}}),
        changed("order", "job", "job_id", to=5),
        changed("order", "job", "job_id", to=None),
        changed("order", "start", to="x"),
        changed("order", "round", to="../3"),
        changed("order", "round", to=-1),
        changed("order", to=None),
        changed("arguments", to="text"),
        [],
        None,
    ],
)
def test_an_order_without_a_part_or_with_an_unknown_one_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput):
        StepOrder.of_json(value)


def test_folders_belong_to_the_silo() -> None:
    assert silo_updates_folder("ash", "towns-1", 3) == "silos/ash/towns-1/updates/000003"
    assert silo_answers_folder("ash", "towns-1", 3, "train") == "silos/ash/towns-1/answers/000003-train"


OUTCOME = ContractOutcome("interactions", "ash", True, (), 9, {"success": True})
DELIVERY = Delivery("ash", REF, started=10.0, ended=12.5, lightfm_s=0.25, transfer_s=0.5)
EVALUATION = ClientEvaluation(
    "ash",
    {"ndcg@10": Metric(1.5, 4)},
    {"ndcg@10": Metric(1, 4)},
    {"benefit": Metric(0.5, 4), "benefit_squared": Metric(0.5, 4)},
    {"benefit": Metric(0.25, 4), "benefit_squared": Metric(0.125, 4)},
    10.0,
    14.0,
    2.0,
)


def test_a_check_s_answer_is_read_as_it_was_written() -> None:
    checked = Checked(OUTCOME, 8, 80, "e" * 64)
    assert answer_of_json("check", "ash", through_json(answer_as_json(checked)), 0.0) == checked


def test_a_delivery_keeps_its_duration_on_another_machine_s_clock() -> None:
    again = answer_of_json("train", "ash", through_json(answer_as_json(DELIVERY)), 100.0)
    assert again == replace(DELIVERY, started=97.5, ended=100.0)


@pytest.mark.parametrize("step", ["evaluate", "compare"])
def test_figures_are_read_as_they_were_written(step: Any) -> None:
    again = answer_of_json(step, "ash", through_json(answer_as_json(EVALUATION)), 100.0)
    assert again == replace(EVALUATION, started=96.0, ended=100.0)


TRAIN, FIGURES = answer_as_json(DELIVERY), answer_as_json(EVALUATION)
CHECK = answer_as_json(Checked(OUTCOME, 8, 80, "e" * 64))


@pytest.mark.parametrize(
    ("step", "body"),
    [
        *(("train", {k: v for k, v in TRAIN.items() if k != name}) for name in TRAIN),
        *(("evaluate", {k: v for k, v in FIGURES.items() if k != name}) for name in FIGURES),
        *(("check", {k: v for k, v in CHECK.items() if k != name}) for name in CHECK),
        ("train", TRAIN | {"update": {"path": "x"}}),
        ("train", TRAIN | {"update": asdict(REF) | {"path": 5, "sha256": 5}}),
        ("train", TRAIN | {"update": asdict(REF) | {"size": "12"}}),
        ("train", TRAIN | {"update": asdict(REF) | {"size": -1}}),
        ("train", TRAIN | {"update": asdict(REF) | {"sha256": "../" + "a" * 61}}),
        ("train", TRAIN | {"seconds": "nan"}),
        ("train", TRAIN | {"lightfm_s": 10**400}),
        ("evaluate", FIGURES | {"metrics": {"ndcg@10": {"total": "nan", "weight": 1}}}),
        ("evaluate", FIGURES | {"metrics": {"ndcg@10": {"total": 1}}}),
        ("evaluate", FIGURES | {"metrics": {"ndcg@10": 0.5}}),
        ("evaluate", FIGURES | {"metrics": [1]}),
        ("check", CHECK | {"outcome": "{"}),
        ("check", CHECK | {"users": "8"}),
        ("check", CHECK | {"interactions": True}),
        ("train", {}),
    ],
)
def test_an_answer_of_another_form_is_refused(step: Any, body: dict[str, Any]) -> None:
    with pytest.raises(FedrecError):
        answer_of_json(step, "ash", body, 0.0)
