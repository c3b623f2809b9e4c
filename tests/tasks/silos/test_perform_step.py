"""A silo's work on an order: the local client's bytes, signed, within the policy, and all in the ledger."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_contracts.interactions import InteractionLimits
from models.errors import CatalogMismatch, EgressRefused, ForgedAnswer, LedgerTampered, NotFound
from models.federation.envelope import AnswerContext
from models.federation.model import GlobalModel
from models.kernel.metric import Metric
from models.ledger.head import Head
from models.privacy.mechanisms import Mechanism, epsilon_of
from models.privacy.noise_plan import NoisePlan
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from models.recommenders.private.spec import DpItemsSpec
from tasks.clients.check_data import judge, profile_client
from tasks.clients.evaluate import compare_client, evaluate_client
from tasks.clients.train import train_client
from tasks.datasets.partition_reader import open_partition
from tasks.datasets.snapshot import take_snapshot
from tasks.datasets.source import FolderSource
from tasks.exchange.codec import decode_update, encode_model
from tasks.exchange.layout import silo_answers_folder
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.local.home import Home
from tasks.messages.answers import Checked, answer_of_json
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.signed_head import SignedHead
from tasks.messages.steps import Step, StepOrder
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.keys import load_key, make_key
from tasks.silos.own_benefit import ComparedAlone, own_comparisons
from tasks.silos.perform_step import Silo, note_failure, perform_step
from tasks.silos.signed_answers import open_sealed
from tests.worlds.jobs import job_of
from tests.worlds.postprocessors import Times

SPEC = LightFMSpec(dims=4)


@dataclass(frozen=True)
class Rules:
    may_leave: tuple[str, ...] = ("check", "update", "evaluation")
    max_update_bytes: int = 100_000


@dataclass(frozen=True)
class World:
    """A coordinator with a local partition, and silo "ash" with the same rows and folders of its own."""

    exchange: Exchange
    local: JobContext
    items: ArtifactRef
    silo: Silo

    def base(self, round_: int) -> ArtifactRef:
        catalog = open_partition(self.local.data_dir).catalog
        model = GlobalModel(round_, catalog.digest, initial_items(len(catalog), SPEC.dims, 100 + round_))
        return self.exchange.put("job-1/models", encode_model(model))

    def order(self, step: Step, round_: int = 1, start: StartingPoint | None = None) -> ClientOrder:
        base = self.base(round_ - (step == "train"))
        return ClientOrder(self.local, "ash", round_, base, start or StartingPoint(None, 0))

    def step_order(self, step: Step, order: ClientOrder, **arguments: Any) -> StepOrder:
        # The coordinator names places of its own, which the silo must ignore.
        job = replace(
            order.job,
            data_dir="/nowhere",
            data_digest="",
            silos_dir="/nowhere",
            exchange_url="file:///nowhere",
        )
        if step == "check":
            arguments = {"limits": asdict(InteractionLimits()), "items": asdict(self.items)}
        return StepOrder(step, replace(order, job=job), arguments)

    def do(self, step: Step, order: ClientOrder, **arguments: Any) -> Any:
        """Return the silo's answer."""
        ordered = self.step_order(step, order, **arguments)
        perform_step(self.silo, StepOrder.of_json(json.loads(json.dumps(ordered.as_json()))))
        (ref,) = self.exchange.listed(silo_answers_folder("ash", "job-1", order.round, step))
        question = AnswerContext("ash", step, "job-1", order.round, order.base.sha256)
        public = load_key(self.silo.home).public
        body = open_sealed(self.exchange.get(ref), question, public)
        return answer_of_json(step, "ash", body, 0.0, is_noisy=order.job.noise is not None)

    @property
    def left(self) -> list[Path]:
        root = Path(self.exchange.url.removeprefix("file://"))
        return sorted(path for path in (root / "silos").rglob("*") if path.is_file())

    @property
    def entries(self) -> list[dict[str, Any]]:
        return [dict(entry.body) for entry in EgressLedger(self.silo.home).read_verified().entries]


@pytest.fixture
def world(tmp_path: Path, partition_dir: Path) -> World:
    exchange = Exchange((tmp_path / "exchange").as_uri())
    partition = open_partition(partition_dir)
    local = job_of(partition_dir, tmp_path, spec=SPEC, silos_dir=str(tmp_path / "local-silos"))
    items = exchange.put("job-1/catalog", partition.items_path.read_bytes())
    home = Home(tmp_path / "silo")
    make_key(home)
    data = tmp_path / "shop"
    data.mkdir()
    pd.read_parquet(partition.client("ash").path).to_csv(data / "sales.csv", index=False)
    silo = Silo(home, "ash", exchange.url, FolderSource(data), Rules(), min_users=1)
    return World(exchange, local, items, silo)


@pytest.fixture
def checked(world: World, partition_dir: Path) -> World:
    """Return the world after a check: the silo has its snapshot."""
    folder = world.silo.home.root / "snapshots" / "job-1"
    take_snapshot(world.silo.source, open_partition(partition_dir).items_path, "ash", folder)
    return world


def test_a_silo_checks_and_trains_as_a_local_client_does(world: World) -> None:
    check = world.order("check", 0)
    answer = world.do("check", check)
    local = judge({"ash": profile_client(check, InteractionLimits())}, InteractionLimits())["ash"]
    assert isinstance(answer, Checked)
    assert answer.outcome.passed
    assert (answer.users, answer.interactions, answer.digest) == (8, 80, local.digest)

    first = world.order("train")
    update = world.do("train", first).update
    assert update.path == f"silos/ash/job-1/updates/000001/{update.sha256}.safetensors"
    assert update.sha256 == train_client(first).update.sha256
    second = world.order("train", 2, StartingPoint("job-1", 1))
    assert world.do("train", second).update.sha256 == train_client(second).update.sha256

    # All objects below the silo's prefix are in its ledger, and so are those that were removed since.
    on_disk = {hashlib.sha256(path.read_bytes()).hexdigest() for path in world.left}
    sent = {each["sha256"] for each in world.entries}
    assert on_disk | {update.sha256} == sent
    assert update.sha256 not in on_disk  # of an earlier round
    assert [(each["round"], each["what"], each["type"]) for each in world.entries] == [
        *((0, "check", "sent"), (1, "client_update", "sent"), (1, "train", "sent")),
        *((2, "client_update", "sent"), (2, "train", "sent")),
    ]
    assert not any(b"u000" in path.read_bytes() for path in world.left)


@pytest.mark.parametrize(("earlier", "left_out"), [("job-1", 0.0), ("job-of-an-older-version", 8.0)])
def test_a_silo_leaves_out_cases_by_the_records_in_its_own_folder(
    checked: World, earlier: str, left_out: float
) -> None:
    checked.do("train", checked.order("train"))
    assert (checked.silo.home.silos / "ash" / "trained" / "job-1.keys").is_file()
    going_on = replace(checked, local=replace(checked.local, earlier_jobs=(earlier,), earlier_records=(1,)))
    found = going_on.do("evaluate", going_on.order("evaluate")).metrics
    # Each of its eight users has one case. A job trains on none of the cases that it holds out.
    assert found["left_out"] == Metric(left_out, 8.0)
    assert found["ndcg@10"].weight == 8.0 - left_out


def test_the_ledger_names_the_postprocessors_of_an_update_and_of_nothing_else(checked: World) -> None:
    local = replace(checked.local, postprocessors=(Times(2.0), Times(8.0)))
    world = replace(checked, local=local)
    order = world.order("train")
    update = world.do("train", order).update
    world.do("evaluate", world.order("evaluate"))
    assert [(each["what"], each["treatment"]) for each in checked.entries] == [
        ("client_update", "test-times, test-times, readable"),
        ("train", "readable"),
        ("evaluate", "readable"),
    ]
    # Values that are 16 times as large, in steps that are 16 times as wide.
    ranges = {
        name: replace(each, step=each.step / 16) for name, each in order.job.family.rule().ranges.items()
    }
    plain = replace(order, job=replace(order.job, postprocessors=(), ranges=ranges))
    sent, untreated = (
        decode_update(checked.exchange.get(each)).contribution.arrays
        for each in (update, train_client(plain).update)
    )
    for (name, got), (_, expected) in zip(sent.named(), untreated.named(), strict=True):
        np.testing.assert_array_equal(got, 16 * expected, err_msg=name)


def test_a_silo_that_adds_noise_tells_no_counts_and_its_ledger_says_how_much_noise(world: World) -> None:
    noise, delta = NoisePlan(multiplier=3.0, summands=4, figures_share=0.1), 1e-5
    private = replace(world, local=replace(world.local, spec=DpItemsSpec(), noise=noise, delta=delta))
    checked = private.do("check", private.order("check", 0))
    assert (checked.users, checked.interactions, checked.outcome.result) == (0, 0, {})

    catalog = open_partition(world.local.data_dir).catalog
    model = GlobalModel(0, catalog.digest, private.local.family.initial(len(catalog), 7))
    base = private.exchange.put("job-1/models", encode_model(model))
    order = ClientOrder(private.local, "ash", 1, base, StartingPoint(None, 0))
    sent = decode_update(private.exchange.get(private.do("train", order).update)).contribution
    assert (sent.interactions, dict(sent.metrics)) == (0, {})
    figures = private.do("evaluate", replace(order, round=2))
    # An exact weight is the number of the silo's users.
    assert figures.metrics["ndcg@10"].weight != 8.0
    assert (figures.alone, figures.benefit) == ({}, {})

    said = {
        "multiplier": 3.0,
        "own_share": 0.25,
        "epsilon": epsilon_of([Mechanism(3.0)], delta),
        "delta": delta,
    }
    assert [(each["what"], each["treatment"], each.get("privacy")) for each in private.entries] == [
        ("check", "readable", None),
        ("client_update", "discrete Gaussian noise, readable", said),
        ("train", "readable", None),
        ("evaluate", "discrete Gaussian noise, readable", said),
    ]


def test_a_breach_is_reported_without_the_values_that_break_the_rule(world: World) -> None:
    sales = world.silo.home.root.parent / "shop" / "sales.csv"
    rows = pd.read_csv(sales)
    rows.loc[2, "item_id"] = "an-item-that-only-we-sell"
    rows.to_csv(sales, index=False)
    # The snapshot keeps them: only the contract refuses them.
    answer = world.do("check", world.order("check", 0))

    assert not answer.outcome.passed
    broken = {each.expectation: each for each in answer.outcome.breaches}
    assert broken["item_known"].count == 1
    assert broken["item_known"].keys == ("2",)
    (left,) = world.left
    users = set(rows["user_id"])
    assert not [each for each in (*users, "only-we-sell") if each.encode() in left.read_bytes()]
    log = (world.silo.home.root / "silo.log").read_text()
    assert "an-item-that-only-we-sell" in log


def test_the_ledger_holds_exactly_the_objects_in_the_exchange(checked: World) -> None:
    checked.do("train", checked.order("train"))
    checked.do("evaluate", checked.order("evaluate"))
    lying = {(path.stem, path.stat().st_size) for path in checked.left}
    assert {(each["sha256"], each["bytes"]) for each in checked.entries} == lying
    assert len(lying) == 3


def test_figures_equal_those_of_a_local_client(checked: World) -> None:
    train = checked.order("train")
    checked.do("train", train)
    train_client(train)
    order = checked.order("evaluate", 1, StartingPoint("job-1", 1))
    assert checked.do("evaluate", order).metrics == evaluate_client(order).metrics
    mine, local = checked.do("compare", order, alone_rounds=2), compare_client(order, 2)
    assert (mine.metrics, mine.alone) == (local.metrics, local.alone)
    assert (mine.benefit, mine.choice) == (local.benefit, local.choice)
    assert mine.alone


def test_the_owner_sees_whether_taking_part_helped(checked: World) -> None:
    def seen() -> list[ComparedAlone]:
        return own_comparisons(checked.silo.home.silos / "ash")

    train = checked.order("train")
    checked.do("train", train)
    train_client(train)
    assert seen() == []
    order = checked.order("evaluate", 1, StartingPoint("job-1", 1))
    checked.do("compare", order, alone_rounds=2)
    expected = compare_client(order, 2)
    (found,) = seen()
    assert (found.job_id, found.round) == ("job-1", 1)
    assert found.common == {name: each.value for name, each in expected.metrics.items()}
    assert found.alone == {name: each.value for name, each in expected.alone.items()}
    assert (found.benefit.mean, found.benefit.cases) == (
        expected.benefit["benefit"].value,
        expected.benefit["benefit"].weight,
    )
    # A damaged file hides no other job's.
    path = checked.silo.home.silos / "ash" / "state" / "job-1" / "comparison.json"
    path.with_name("copy").write_bytes(path.read_bytes())
    path.write_text("{}")
    assert seen() == []


def test_a_repeated_step_gives_the_same_update(checked: World) -> None:
    order = checked.order("train")
    first = checked.do("train", order).update
    for path in checked.left:
        if "answers" in path.parts:
            path.unlink()
    assert checked.do("train", order).update == first


def refused(world: World, step: Step, order: ClientOrder, **policy: Any) -> str:
    silo = replace(world.silo, policy=Rules(**policy))
    with pytest.raises(EgressRefused) as caught:
        perform_step(silo, world.step_order(step, order))
    return str(caught.value)


def test_an_update_against_the_policy_does_not_leave(checked: World) -> None:
    assert "lacks 'update'" in refused(
        checked, "train", checked.order("train"), may_leave=("check", "evaluation")
    )
    assert checked.left == []
    assert [(each["type"], each["what"]) for each in checked.entries] == [("refused", "client_update")]


def test_figures_against_the_policy_do_not_leave(checked: World) -> None:
    refused(checked, "evaluate", checked.order("evaluate"), may_leave=("check", "update"))
    assert checked.left == []


def test_an_update_that_is_too_large_does_not_leave(checked: World) -> None:
    assert "allows 100 bytes" in refused(checked, "train", checked.order("train"), max_update_bytes=100)
    assert checked.left == []


@pytest.mark.parametrize("step", ["train", "evaluate", "compare"])
def test_nothing_about_too_few_users_leaves(checked: World, step: Step) -> None:
    silo = replace(checked.silo, min_users=9)
    with pytest.raises(EgressRefused, match="8 users"):
        perform_step(silo, checked.step_order(step, checked.order(step), alone_rounds=1))
    assert checked.left == []
    (body,) = checked.entries
    assert (body["type"], body["what"], body["bytes"], body["sha256"]) == ("refused", step, 0, "")
    assert (body["job_id"], body["round"]) == ("job-1", checked.order(step).round)
    assert "its policy requires at least 9" in body["reason"]
    perform_step(replace(silo, min_users=8), checked.step_order("train", checked.order("train")))
    assert len(checked.left) == 2


def test_an_order_for_another_silo_is_refused(checked: World) -> None:
    order = replace(checked.order("train"), client_id="birch")
    with pytest.raises(EgressRefused, match="received an order for 'birch'"):
        perform_step(checked.silo, checked.step_order("train", order))
    assert checked.left == []
    assert [(each["type"], each["what"]) for each in checked.entries] == [("refused", "train")]
    assert not (checked.silo.home.silos).exists()


def test_training_before_a_check_is_refused(world: World) -> None:
    with pytest.raises(NotFound):
        perform_step(world.silo, world.step_order("train", world.order("train")))
    assert world.left == []


def test_a_silo_without_a_key_sends_no_answer(checked: World) -> None:
    shutil.rmtree(checked.silo.home.root / "keys")
    with pytest.raises(NotFound, match="no key pair"):
        perform_step(checked.silo, checked.step_order("evaluate", checked.order("evaluate")))
    assert checked.left == []


def test_a_job_s_catalogue_never_changes(world: World, checked: World, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    pd.DataFrame({"item_id": ["x"], "title": ["X"]}).to_parquet(other)
    changed = replace(world, items=world.exchange.put("job-1/catalog", other.read_bytes()))
    with pytest.raises(CatalogMismatch):
        perform_step(world.silo, changed.step_order("check", world.order("check", 0)))


def test_an_answer_belongs_to_its_own_order_only(checked: World) -> None:
    order = checked.order("evaluate")
    checked.do("evaluate", order)
    (ref,) = checked.exchange.listed(silo_answers_folder("ash", "job-1", 1, "evaluate"))
    question = AnswerContext("ash", "evaluate", "job-1", 1, order.base.sha256)
    stranger = make_key(Home(checked.silo.home.root.parent / "stranger")).public
    with pytest.raises(ForgedAnswer):
        open_sealed(checked.exchange.get(ref), question, stranger)


def test_the_cause_of_an_error_stays_in_the_silo_s_log(tmp_path: Path) -> None:
    home = Home(tmp_path / "silo")
    for text in ("user u001 has no sales", "second"):
        try:
            raise ValueError(text)
        except ValueError as error:
            note_failure(home, error)
    log = (home.root / "silo.log").read_text()
    assert "user u001 has no sales" in log
    assert log.index("u001") < log.index("ValueError: second")


def head_in(world: World, step: Step) -> Head:
    """Return the head that the silo's answer to this step of round 1 carries."""
    (ref,) = world.exchange.listed(silo_answers_folder("ash", "job-1", 1, step))
    return Head.of_json(json.loads(world.exchange.get(ref))["body"]["egress"])


def test_an_answer_carries_the_head_of_all_that_left_before_it(checked: World) -> None:
    checked.do("train", checked.order("train"))
    update, answer = EgressLedger(checked.silo.home).read_verified().entries
    assert head_in(checked, "train") == Head(1, update.hash)
    assert answer.body["fields"][:2] == ["egress.count", "egress.sha256"]
    checked.do(
        "evaluate",
        checked.order("evaluate"),
        witnessed=SignedHead(Head(1, update.hash), answer.body["sha256"]).as_json(),
    )
    assert head_in(checked, "evaluate") == Head(2, answer.hash)


@pytest.mark.parametrize("change", ["cut off", "its last line cut off", "rewritten", "edited"])
def test_a_silo_with_a_changed_ledger_sends_no_answer(checked: World, change: str) -> None:
    ledger = EgressLedger(checked.silo.home)
    for number in range(3):
        ledger.record(what="train", job_id="job-0", round=number, bytes=5, sha256="a" * 64, fields=[])
    witnessed = SignedHead(ledger.head(), "c" * 64).as_json()
    ledger.record(what="train", job_id="job-0", round=3, bytes=5, sha256="c" * 64, fields=[])
    file = checked.silo.home.root / "egress.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    if change == "edited":
        file.write_bytes(b"".join(lines).replace(b'"round":1', b'"round":8'))
    elif change == "its last line cut off":
        file.write_bytes(b"".join(lines[:-1]))
    else:
        file.write_bytes(lines[0])
    if change == "rewritten":
        for number in range(5):
            ledger.record(what="train", job_id="job-0", round=number, bytes=5, sha256="b" * 64, fields=[])
    ordered = checked.step_order("train", checked.order("train"), witnessed=witnessed)
    with pytest.raises(LedgerTampered):
        perform_step(checked.silo, ordered)
    assert checked.left == []
    # As soon as the file is restored it continues.
    file.write_bytes(b"".join(lines))
    perform_step(checked.silo, ordered)
    assert len(checked.left) == 2


def test_only_the_newest_jobs_keep_their_snapshot_and_answers(world: World) -> None:
    silo = replace(world.silo, keep_jobs=2)
    snapshots = silo.home.root / "snapshots"
    shutil.rmtree(snapshots, ignore_errors=True)
    for number in (1, 2, 3, 1):
        order = world.order("check", 0)
        order = replace(order, job=replace(order.job, job_id=f"job-{number}"), base=world.base(0))
        perform_step(silo, world.step_order("check", order))
    # The third removed the first one's. Started again, that one is the newest.
    assert sorted(path.name for path in snapshots.iterdir() if path.is_dir()) == ["job-1", "job-3"]
    assert {path.parts[-4] for path in world.left} == {"job-1", "job-3"}
    # What left stays in the ledger forever.
    assert [each["job_id"] for each in world.entries] == ["job-1", "job-2", "job-3", "job-1"]
