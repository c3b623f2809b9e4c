"""Orders to silos through a real Prefect server: what counts as an answer, and what happens to all else.

The silo's worker is a thread that picks up scheduled runs as Prefect's own does. It misbehaves on demand.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from contextvars import copy_context
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.errors import ForgedAnswer, InvalidInput, LedgerTampered, NotFound, SiloFailed, StaleUpdate
from models.federation.envelope import AnswerContext
from models.federation.model import GlobalModel
from models.ledger.head import Head
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from tasks.clients.train import train_client
from tasks.coordinator.egress_witness import SiloWitness, require_witnessed, witnessed_answers
from tasks.coordinator.trust_store import TrustStore
from tasks.datasets.partition_reader import open_partition
from tasks.datasets.snapshot import take_snapshot
from tasks.datasets.source import FolderSource
from tasks.exchange.codec import encode_model
from tasks.exchange.layout import silo_answers_folder, silo_updates_folder
from tasks.exchange.store import Exchange
from tasks.local.home import Home
from tasks.messages.answers import ClientEvaluation, Delivery
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.steps import Step, StepOrder
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.keys import SiloKey, make_key
from tasks.silos.perform_step import Silo, perform_step
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, sign_answer
from tests.servers.prefect_server import PrefectServer

JOB = "job-1"
IN_TIME, TOO_SHORT, RESTART_S = 30.0, 6.0, 200.0
Behaviour = Callable[["Shop", StepOrder], None]


@dataclass(frozen=True)
class Rules:
    may_leave: tuple[str, ...] = ("check", "update", "evaluation")
    max_update_bytes: int = 100_000


@dataclass
class Shop:
    """A silo, its worker, and what the coordinator needs to send it orders.

    Attributes:
        silo: the silo as its owner set it up.
        key: the silo's key.
        context: what the coordinator sends to all clients.
        partition_dir: the same data as a local partition, whose client is "ash".
        remote: the runner under test.
        exchange: the exchange of both.
        behave: what its worker does with an order.
        has_worker: whether a worker picks up its runs.
        begun: the runs that were picked up.
    """

    silo: Silo
    key: SiloKey
    context: JobContext
    partition_dir: Path
    remote: Any
    exchange: Exchange
    behave: Behaviour = lambda shop, step: perform_step(shop.silo, step)
    has_worker: bool = True
    begun: list[UUID] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.silo.name

    @property
    def witness(self) -> SiloWitness:
        """Return what the coordinator kept of its answers."""
        return SiloWitness(self.remote._trust.home, self.name)

    def order(self, round_: int = 1, base_round: int | None = None) -> ClientOrder:
        catalog = open_partition(self.partition_dir).catalog
        base = round_ - 1 if base_round is None else base_round
        model = GlobalModel(base, catalog.digest, initial_items(len(catalog), 4, 100 + base))
        ref = self.exchange.put(f"{JOB}/models", encode_model(model))
        return ClientOrder(self.context, self.name, round_, ref, StartingPoint(None, 0))

    def ask(self, step: Step, order: ClientOrder, deadline_s: float = IN_TIME) -> Any:
        return self.remote.ask(step, {self.name: order}, deadline_s)[self.name]

    def leave(self, order: ClientOrder, body: dict[str, Any], **changes: Any) -> None:
        """Store a signed answer to "train" in the silo's folder, with parts of the question changed."""
        question = AnswerContext(self.name, "train", JOB, order.round, order.base.sha256)
        data = sign_answer(replace(question, **changes), body, self.key)
        self.exchange.put(silo_answers_folder(self.name, JOB, order.round, "train"), data)


def serve(shop: Shop, deployment_id: UUID, stop: threading.Event) -> None:
    """Pick up the deployment's runs, do them, and end them as a worker does."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.states import Completed, Failed, Running

    mine = DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id]))
    with get_client(sync_client=True) as client:
        while not stop.wait(0.1):
            for run in client.read_flow_runs(deployment_filter=mine):
                if not shop.has_worker or not run.state.is_scheduled():
                    continue
                shop.begun.append(run.id)
                client.set_flow_run_state(run.id, Running(), force=True)
                try:
                    shop.behave(shop, StepOrder.of_json(run.parameters["order"]))
                    state: Any = Completed()
                except Exception as error:  # noqa: BLE001
                    state = Failed(message=type(error).__name__)
                with suppress(Exception):
                    client.set_flow_run_state(run.id, state, force=True)


@pytest.fixture
def shop(tmp_path: Path, partition_dir: Path, prefect_server: None) -> Iterator[Shop]:
    from prefect.client.orchestration import get_client

    from flows.runners.remote_silos import RemoteSilos
    from flows.silo.step import silo_step

    # Prefect's server is the whole session's, so each test has a silo of its own.
    name = "ash-" + hashlib.sha256(str(tmp_path).encode()).hexdigest()[:12]
    partition = open_partition(partition_dir)
    exchange = Exchange((tmp_path / "exchange").as_uri())
    (tmp_path / "data").mkdir()
    pd.read_parquet(partition.client("ash").path).to_csv(tmp_path / "data" / "sales.csv", index=False)
    silo = Silo(
        Home(tmp_path / "silo"), name, exchange.url, FolderSource(tmp_path / "data"), Rules(), min_users=1
    )
    take_snapshot(silo.source, partition.items_path, name, silo.home.root / "snapshots" / JOB)
    key = make_key(silo.home)
    trust = TrustStore(Home(tmp_path / "coordinator"))
    trust.trust(name, key.public)
    context = JobContext(
        job_id=JOB,
        seed=7,
        spec=LightFMSpec(dims=4),
        exchange_url=exchange.url,
        data_dir="/nowhere",
        data_digest="",
        silos_dir="/nowhere",
        evaluation_seed=5,
        negatives=20,
    )
    items = exchange.put(f"{JOB}/catalog", partition.items_path.read_bytes())
    remote = RemoteSilos(exchange, trust, items, poll_s=0.1)
    with get_client(sync_client=True) as client:
        deployment_id = client.create_deployment(client.create_flow(silo_step), name=name)
    shop = Shop(silo, key, context, partition_dir, remote, exchange)
    stop = threading.Event()
    # With the context, in which Prefect keeps the address of its server.
    worker = threading.Thread(target=copy_context().run, args=(serve, shop, deployment_id, stop))
    worker.start()
    yield shop
    stop.set()
    worker.join(20)


def test_a_silo_s_update_equals_that_of_a_local_client_of_its_name(shop: Shop) -> None:
    order = shop.order()
    delivery = shop.ask("train", order)
    assert isinstance(delivery, Delivery)
    snapshot = open_partition(shop.silo.home.root / "snapshots" / JOB)
    job = replace(
        shop.context,
        data_dir=str(snapshot.root),
        data_digest=snapshot.digest,
        silos_dir=str(shop.silo.home.root / "again"),
    )
    local = train_client(replace(order, job=job))
    assert delivery.update.sha256 == local.update.sha256
    assert delivery.update.path.startswith(f"silos/{shop.name}/{JOB}/updates/000001/")
    assert delivery.ended > delivery.started
    evaluation = shop.ask("evaluate", replace(order, base=shop.order(2).base))
    assert isinstance(evaluation, ClientEvaluation)
    assert evaluation.metrics["ndcg@10"].weight == 8


def test_an_answer_signed_with_another_key_is_forged(shop: Shop) -> None:
    stranger = SiloKey(Ed25519PrivateKey.generate(), Path("none"))

    def impostor(shop: Shop, step: StepOrder) -> None:
        forger = Shop(shop.silo, stranger, shop.context, shop.partition_dir, shop.remote, shop.exchange)
        forger.leave(step.order, body_of(shop, step.order))

    shop.behave = impostor
    error = shop.ask("train", shop.order())
    assert isinstance(error, ForgedAnswer)
    assert error.part == "key"


def body_of(shop: Shop, order: ClientOrder, folder: str | None = None) -> dict[str, Any]:
    """Return a body that is accepted."""
    ref = shop.exchange.put(folder or silo_updates_folder(shop.name, JOB, order.round), b"update")
    head = vars(EgressLedger(shop.silo.home).head())
    return {"update": vars(ref), "seconds": 0.1, "lightfm_s": 0.1, "transfer_s": 0.0, "egress": head}


def test_the_body_of_these_tests_is_accepted_unchanged(shop: Shop) -> None:
    shop.behave = lambda shop, step: shop.leave(step.order, body_of(shop, step.order))
    assert isinstance(shop.ask("train", shop.order()), Delivery)


@pytest.mark.parametrize(
    ("part", "value"),
    [("base_sha256", "0" * 64), ("round", 2), ("job_id", "job-0"), ("kind", "evaluate")],
)
def test_an_answer_to_another_question_is_stale(shop: Shop, part: str, value: Any) -> None:
    shop.behave = lambda shop, step: shop.leave(step.order, body_of(shop, step.order), **{part: value})
    error = shop.ask("train", shop.order())
    assert isinstance(error, StaleUpdate)
    assert error.part == part


def test_an_old_answer_in_the_new_round_s_folder_is_stale(shop: Shop) -> None:
    first, second = shop.order(1), shop.order(2)
    assert isinstance(shop.ask("train", first), Delivery)

    def replay(shop: Shop, step: StepOrder) -> None:
        (old,) = shop.exchange.listed(silo_answers_folder(shop.name, JOB, 1, "train"))
        shop.exchange.put(silo_answers_folder(shop.name, JOB, 2, "train"), shop.exchange.get(old))

    shop.behave = replay
    error = shop.ask("train", second)
    assert isinstance(error, StaleUpdate)
    assert error.part == "round"


def test_a_genuine_answer_counts_although_others_lie_beside_it(shop: Shop) -> None:
    def both(shop: Shop, step: StepOrder) -> None:
        for number in range(5):
            shop.exchange.put(silo_answers_folder(shop.name, JOB, 1, "train"), b"junk %d" % number)
        perform_step(shop.silo, step)

    shop.behave = both
    assert isinstance(shop.ask("train", shop.order()), Delivery)


def test_an_answer_counts_before_its_run_has_ended(shop: Shop) -> None:
    go_on = threading.Event()

    def lingering(shop: Shop, step: StepOrder) -> None:
        perform_step(shop.silo, step)
        go_on.wait(IN_TIME)

    shop.behave = lingering
    assert isinstance(shop.ask("train", shop.order()), Delivery)
    assert not go_on.is_set()
    go_on.set()


def test_an_answer_to_an_earlier_attempt_waits_for_the_end_of_the_new_run(shop: Shop) -> None:
    order = shop.order()
    first = shop.ask("train", order)
    ended: list[bool] = []
    shop.behave = lambda shop, step: (time.sleep(1), ended.append(True))[1]
    second = shop.ask("train", order)
    assert ended
    assert second.update == first.update


def test_an_oversized_answer_is_not_read(shop: Shop) -> None:
    folder = silo_answers_folder(shop.name, JOB, 1, "train")
    shop.behave = lambda shop, step: (shop.exchange.put(folder, b" " * (MAX_ANSWER_BYTES + 1)), None)[1]
    error = shop.ask("train", shop.order())
    assert isinstance(error, ForgedAnswer)
    assert f"has {MAX_ANSWER_BYTES + 1} bytes" in str(error)


@pytest.mark.parametrize("folder", [f"silos/birch/{JOB}/updates/000001", f"{JOB}/models"])
def test_a_silo_cannot_name_another_silo_s_update(shop: Shop, folder: str) -> None:
    shop.behave = lambda shop, step: shop.leave(step.order, body_of(shop, step.order, folder))
    error = shop.ask("train", shop.order())
    assert isinstance(error, ForgedAnswer)
    assert f"silos/{shop.name}/{JOB}/updates/000001" in str(error)


def test_a_path_that_leaves_the_folder_is_refused(shop: Shop) -> None:
    def climb(shop: Shop, step: StepOrder) -> None:
        body = body_of(shop, step.order)
        shop.leave(step.order, body | {"update": body["update"] | {"path": body["update"]["path"] + "/.."}})

    shop.behave = climb
    assert isinstance(shop.ask("train", shop.order()), ForgedAnswer)


def test_a_signed_answer_of_a_wrong_form_is_refused(shop: Shop) -> None:
    shop.behave = lambda shop, step: shop.leave(step.order, {"update": {"path": 5, "sha256": 5, "size": 5}})
    assert isinstance(shop.ask("train", shop.order()), InvalidInput)


def test_an_unreadable_answer_costs_the_silo_its_round_only(shop: Shop) -> None:
    def blocked(shop: Shop, step: StepOrder) -> None:
        answers = (Path(shop.exchange.url.removeprefix("file://")) / "silos" / shop.name / JOB) / "answers"
        answers.parent.mkdir(parents=True)
        answers.write_text("a file where a folder should be")

    shop.behave = blocked
    error = shop.ask("train", shop.order())
    assert isinstance(error, SiloFailed)
    assert "cannot be read" in str(error)


def test_a_link_is_not_followed(shop: Shop, tmp_path: Path) -> None:
    (tmp_path / "private").write_text("the coordinator's")

    def linked(shop: Shop, step: StepOrder) -> None:
        folder = Path(shop.exchange.url.removeprefix("file://")) / silo_answers_folder(
            shop.name, JOB, 1, "train"
        )
        folder.mkdir(parents=True)
        (folder / f"{'a' * 64}.safetensors").symlink_to(tmp_path / "private")

    shop.behave = linked
    assert isinstance(shop.ask("train", shop.order()), NotFound)


def test_a_run_that_ends_without_an_answer_gives_none(shop: Shop) -> None:
    shop.behave = lambda shop, step: None
    error = shop.ask("train", shop.order())
    assert isinstance(error, NotFound)
    assert "contains no answer" in str(error)


def test_the_ledger_heads_that_a_silo_signs_are_kept(shop: Shop) -> None:
    delivery = shop.ask("train", shop.order(1))
    ledger = EgressLedger(shop.silo.home)
    update, _ = ledger.read().entries
    assert delivery.egress == Head(1, update.hash)
    shop.ask("evaluate", replace(shop.order(1), base=shop.order(2).base))
    told = witnessed_answers(shop.witness.read_verified())
    assert [(each.context.kind, each.signed.head.count) for each in told] == [("train", 1), ("evaluate", 2)]
    require_witnessed(ledger.read().entries, told, shop.name)


def test_a_silo_with_a_cut_ledger_is_refused_until_a_new_beginning_is_accepted(shop: Shop) -> None:
    assert isinstance(shop.ask("train", shop.order(1)), Delivery)
    file = shop.silo.home.root / "egress.jsonl"
    file.unlink()
    for round_ in (2, 3):
        error = shop.ask("train", shop.order(round_))
        assert isinstance(error, SiloFailed)
        assert "LedgerTampered" in str(error)
    # The silo itself refused, so nothing left that its ledger does not hold.
    assert not file.exists()
    shop.witness.restart("the disk was lost", "ada")
    assert isinstance(shop.ask("train", shop.order(3)), Delivery)
    assert isinstance(shop.ask("train", shop.order(4)), Delivery)


def test_a_silo_that_does_not_check_is_refused_for_its_head(shop: Shop) -> None:
    def careless(shop: Shop, step: StepOrder) -> None:
        perform_step(shop.silo, StepOrder(step.step, step.order))

    assert isinstance(shop.ask("train", shop.order(1)), Delivery)
    (shop.silo.home.root / "egress.jsonl").unlink()
    shop.behave = careless
    error = shop.ask("train", shop.order(2))
    assert isinstance(error, LedgerTampered)
    assert f"fedrec witness {shop.name} --restart" in str(error)
    assert (error.known.count, error.head.count) == (1, 1)
    assert len(shop.witness.read_verified()) == 1


def test_a_repeated_order_may_be_answered_by_the_same_answer(shop: Shop) -> None:
    order = shop.order(1)
    assert isinstance(shop.ask("train", order), Delivery)
    # As after a crash of the coordinator before its commit.
    shop.behave = lambda shop, step: None
    assert isinstance(shop.ask("train", order), Delivery)
    assert len(shop.witness.read_verified()) == 1


def test_an_answer_without_a_head_is_refused(shop: Shop) -> None:
    def headless(shop: Shop, step: StepOrder) -> None:
        body = body_of(shop, step.order)
        del body["egress"]
        shop.leave(step.order, body)

    shop.behave = headless
    assert isinstance(shop.ask("train", shop.order()), InvalidInput)


def test_a_failed_run_is_reported_by_its_kind(shop: Shop) -> None:
    shop.silo = replace(shop.silo, min_users=1000)
    error = shop.ask("train", shop.order())
    assert isinstance(error, SiloFailed)
    assert str(error).endswith("'train': Failed: EgressRefused")
    assert shop.exchange.listed(silo_answers_folder(shop.name, JOB, 1, "train")) == []


def test_an_answer_counts_although_its_run_failed_later(shop: Shop) -> None:
    def failing(shop: Shop, step: StepOrder) -> None:
        perform_step(shop.silo, step)
        raise RuntimeError

    shop.behave = failing
    assert isinstance(shop.ask("train", shop.order()), Delivery)


def test_a_silo_without_trust_or_deployment_is_not_waited_for(shop: Shop) -> None:
    began = time.monotonic()
    stranger = replace(shop.order(), client_id="stranger")
    assert isinstance(shop.remote.ask("train", {"stranger": stranger}, IN_TIME)["stranger"], NotFound)
    trust = shop.remote._trust
    trust.trust("undeployed", Ed25519PrivateKey.generate().public_key())
    undeployed = replace(shop.order(), client_id="undeployed")
    answers = shop.remote.ask("train", {"undeployed": undeployed, shop.name: shop.order()}, IN_TIME)
    assert isinstance(answers["undeployed"], Exception)
    assert isinstance(answers[shop.name], Delivery)
    assert time.monotonic() - began < IN_TIME


def test_a_step_that_no_worker_began_is_cancelled_and_can_be_ordered_again(shop: Shop) -> None:
    shop.has_worker = False
    late = shop.ask("train", shop.order(), TOO_SHORT)
    assert str(late) == "no answer within 6 s; its worker did not begin"
    assert not late.is_at_work
    shop.has_worker = True
    assert isinstance(shop.ask("train", shop.order()), Delivery)
    # The cancelled run never began.
    assert len(shop.begun) == 1
    assert late.flow_run_id not in shop.begun


def test_a_late_answer_is_ignored(shop: Shop) -> None:
    go_on = threading.Event()

    def slow(shop: Shop, step: StepOrder) -> None:
        go_on.wait(IN_TIME)
        perform_step(shop.silo, step)

    shop.behave = slow
    late = shop.ask("train", shop.order(1), TOO_SHORT)
    assert str(late) == "no answer within 6 s"
    assert late.is_at_work
    go_on.set()
    give_up = time.monotonic() + IN_TIME
    while late.is_at_work and time.monotonic() < give_up:
        time.sleep(0.1)
    assert not late.is_at_work
    assert shop.exchange.listed(silo_answers_folder(shop.name, JOB, 1, "train"))
    # The next round starts from a model with another silo's update. The late answer belongs to another model.
    delivery = shop.ask("train", shop.order(2))
    assert isinstance(delivery, Delivery)
    assert "/000002/" in delivery.update.path


def test_a_run_that_never_answers_is_cancelled_at_the_end(shop: Shop) -> None:
    from flows.runners.silo_runs import read_run

    go_on = threading.Event()
    shop.behave = lambda shop, step: (go_on.wait(IN_TIME), None)[1]
    late = shop.ask("train", shop.order(), TOO_SHORT)
    shop.remote.abandon([late])
    state = read_run(late.flow_run_id).state
    assert state.is_cancelling()
    go_on.set()


def test_a_restart_of_prefect_during_a_step_or_an_order_costs_nothing(
    restartable_prefect: PrefectServer, shop: Shop
) -> None:
    def restart() -> None:
        restartable_prefect.stop()
        restartable_prefect.start()

    def restarting(shop: Shop, step: StepOrder) -> None:
        restart()
        perform_step(shop.silo, step)

    shop.behave = restarting
    assert isinstance(shop.ask("train", shop.order(1), RESTART_S), Delivery)
    shop.behave = lambda shop, step: perform_step(shop.silo, step)
    restartable_prefect.stop()
    starting = threading.Thread(target=restartable_prefect.start)
    starting.start()
    assert isinstance(shop.ask("train", shop.order(2), RESTART_S), Delivery)
    starting.join()
    assert len(shop.begun) == 2
