"""A silo's agent and a real gateway: orders are done once, whatever is interrupted."""

from __future__ import annotations

import shutil
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from models.errors import ForgedAnswer
from models.federation.model import GlobalModel
from models.recommenders.lightfm.spec import LightFMSpec
from models.recommenders.lightfm.training import initial_items
from tasks.clients.train import train_client
from tasks.coordinator.ask_with_witness import EgressWitnesses
from tasks.coordinator.silo_answers import SiloAnswers
from tasks.coordinator.trust_store import TrustStore
from tasks.datasets.partition_reader import open_partition
from tasks.datasets.source import FolderSource
from tasks.exchange.codec import encode_model
from tasks.exchange.store import Exchange
from tasks.gateway.database import open_database
from tasks.gateway.invitations import Invitations
from tasks.gateway.order_book import OrderBook
from tasks.gateway.own_key import own_key
from tasks.local.home import Home
from tasks.messages.answers import Delivery
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.steps import Step, StepOrder
from tasks.silos.agent import Agent, exchange_folder
from tasks.silos.gateway_client import Address, GatewayAway, GatewayClient, GatewayRefused
from tasks.silos.keys import fingerprint, load_key, make_key
from tasks.silos.perform_step import Silo
from tests.servers.gateway import GatewayServer
from tests.waiting import until

JOB = "job-1"


@dataclass(frozen=True)
class Rules:
    may_leave: tuple[str, ...] = ("check", "update", "evaluation")
    max_update_bytes: int = 100_000


@dataclass
class Town:
    """A gateway, and the silo ash in front of it.

    Attributes:
        server: the gateway.
        silo: the silo.
        partition_dir: the silo's data as a local client's.
        context: of all orders.
        said: what the agent said.
    """

    server: GatewayServer
    silo: Silo
    partition_dir: Path
    context: JobContext
    said: list[str] = field(default_factory=list)

    @property
    def book(self) -> OrderBook:
        return OrderBook(open_database(self.server.home))

    @property
    def exchange(self) -> Exchange:
        return Exchange(self.server.home.exchange.as_uri())

    def client(self) -> GatewayClient:
        address = Address(self.server.url, fingerprint(own_key(self.server.home).public))
        return GatewayClient(address, load_key(self.silo.home))

    def agent(self) -> Agent:
        return Agent(self.silo, self.client(), _thread, self.said.append)

    def order(self, step: Step, round_: int = 1) -> StepOrder:
        partition = open_partition(self.partition_dir)
        base = GlobalModel(round_ - 1, partition.catalog.digest, initial_items(len(partition.catalog), 4, 7))
        ref = self.exchange.put(f"{JOB}/models", encode_model(base))
        order = ClientOrder(self.context, "ash", round_, ref, StartingPoint(None, 0))
        arguments: dict[str, Any] = {}
        if step == "check":
            items = self.exchange.put(f"{JOB}/catalog", partition.items_path.read_bytes())
            limits = {**vars_of_limits()}
            arguments = {"items": vars(items), "limits": limits}
        return StepOrder(step, order, arguments)

    def place(self, step_order: StepOrder) -> str:
        return self.book.place([step_order])["ash"]

    def outcome(self, order_id: str) -> tuple[str, str | None]:
        return self.book.states([order_id])[order_id]

    def answer(self, step_order: StepOrder) -> Any:
        trust = TrustStore(self.server.home)
        answers = SiloAnswers(self.exchange, trust, EgressWitnesses(trust))
        return answers.read_verified(step_order.step, step_order.order)


def vars_of_limits() -> dict[str, Any]:
    from dataclasses import asdict

    from data_contracts.interactions import InteractionLimits

    return asdict(InteractionLimits())


def _thread() -> Executor:
    return ThreadPoolExecutor(1)


@pytest.fixture
def town(tmp_path: Path, partition_dir: Path) -> Iterator[Town]:
    server = GatewayServer(tmp_path / "coordinator")
    server.folder.mkdir()
    home = Home(tmp_path / "ash")
    (tmp_path / "data").mkdir()
    client = open_partition(partition_dir).client("ash")
    pd.read_parquet(client.path).to_csv(tmp_path / "data" / "sales.csv", index=False)
    url = exchange_folder(home.root).as_uri()
    silo = Silo(home, "ash", url, FolderSource(tmp_path / "data"), Rules(), min_users=1)
    TrustStore(server.home).trust("ash", make_key(home).public)
    context = JobContext(
        job_id=JOB,
        seed=7,
        spec=LightFMSpec(dims=4),
        exchange_url=server.home.exchange.as_uri(),
        data_dir=str(partition_dir),
        data_digest=open_partition(partition_dir).digest,
        silos_dir=str(tmp_path / "local"),
        evaluation_seed=7,
        negatives=9,
    )
    server.start()
    yield Town(server, silo, partition_dir, context)
    server.stop()


@pytest.fixture
def checked(town: Town) -> Town:
    """Return the town after the silo has taken its snapshot."""
    town.place(town.order("check"))
    assert town.agent().do_next(5.0)
    return town


def test_a_silo_behind_the_gateway_gives_the_update_of_a_local_client(checked: Town) -> None:
    step_order = checked.order("train")
    order_id = checked.place(step_order)
    assert checked.agent().do_next(5.0)
    assert checked.outcome(order_id)[0] == "answered"
    answer = checked.answer(step_order)
    assert isinstance(answer, Delivery)
    assert answer.update.sha256 == train_client(step_order.order).update.sha256
    assert checked.exchange.get(answer.update)


def test_without_an_order_the_agent_waits(town: Town) -> None:
    assert not town.agent().do_next(0.2)


def test_what_was_ready_is_sent_by_the_next_agent_and_not_done_again(checked: Town) -> None:
    step_order = checked.order("train")
    order_id = checked.place(step_order)
    agent = checked.agent()
    agent._client.send_answer = _away  # type: ignore[method-assign]
    with pytest.raises(GatewayAway):
        agent.do_next(5.0)
    assert checked.outcome(order_id) == ("open", None)
    ledger = (checked.silo.home.root / "egress.jsonl").read_bytes()
    assert not checked.agent().do_next(0.2)  # sends, and finds no other order
    assert checked.outcome(order_id)[0] == "answered"
    assert (checked.silo.home.root / "egress.jsonl").read_bytes() == ledger


def _away(*_: object) -> None:
    raise GatewayAway("It is away.")


def test_a_gateway_that_was_killed_loses_nothing(checked: Town) -> None:
    order_id = checked.place(checked.order("train"))
    checked.server.stop(sign=signal.SIGKILL)
    agent, stop = checked.agent(), threading.Event()
    thread = threading.Thread(target=agent.run, args=(stop.is_set,), daemon=True)
    thread.start()
    until(lambda: any("does not answer" in line for line in checked.said))
    checked.server.start()
    until(lambda: any("Done: train" in line for line in checked.said))
    assert checked.outcome(order_id)[0] == "answered"
    stop.set()
    checked.server.stop(sign=signal.SIGKILL)
    # It is back for the agent before the step is done, so the next pause is short again.
    said = "\n".join(checked.said)
    assert said.index("does not answer") < said.index("answers again") < said.index("Done: train")


def test_two_agents_with_one_key_give_one_answer(checked: Town) -> None:
    step_order = checked.order("train")
    order_id = checked.place(step_order)
    twin_home = Home(checked.silo.home.root.with_name("twin"))

    shutil.copytree(checked.silo.home.root, twin_home.root)
    twin = replace(
        checked,
        silo=replace(checked.silo, home=twin_home, exchange_url=exchange_folder(twin_home.root).as_uri()),
        said=[],
    )
    first, second = checked.client().next_order(), twin.client().next_order()
    assert first and second and first.id == second.id == order_id
    agents = [checked.agent(), twin.agent()]
    threads = [threading.Thread(target=agent.do_next, args=(5.0,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    state, sha256 = checked.outcome(order_id)
    assert state == "answered"
    assert isinstance(checked.answer(step_order), Delivery)
    assert sha256


def test_a_step_that_fails_ends_the_order_with_the_kind_of_error_alone(checked: Town) -> None:
    checked.silo.home.root.joinpath("snapshots", JOB).rename(checked.silo.home.root / "gone")
    order_id = checked.place(checked.order("train"))
    assert checked.agent().do_next(5.0)
    state, kind = checked.outcome(order_id)
    assert (state, kind) == ("failed", "NotFound")
    assert "gone" not in (checked.server.folder / "log").read_text()
    assert "NotFound" in (checked.silo.home.root / "silo.log").read_text()


def test_what_the_policy_keeps_in_does_not_leave(checked: Town) -> None:
    silo = replace(checked.silo, policy=Rules(may_leave=("check",)))
    order_id = checked.place(checked.order("train"))
    assert replace(checked, silo=silo).agent().do_next(5.0)
    assert checked.outcome(order_id) == ("failed", "EgressRefused")
    assert not (checked.server.home.exchange / "silos" / "ash" / JOB / "updates").exists()


def test_a_path_of_the_coordinator_does_not_lead_out_of_the_silos_folder(checked: Town) -> None:
    step_order = checked.order("train")
    ref = checked.exchange.put("other", checked.exchange.get(step_order.order.base))
    elsewhere = replace(step_order, order=replace(step_order.order, base=ref))
    order_id = checked.place(elsewhere)
    assert checked.agent().do_next(5.0)
    assert checked.outcome(order_id) == ("failed", "StrangePath")
    assert not (exchange_folder(checked.silo.home.root) / "other").exists()


def test_an_agent_ends_its_work_when_the_order_is_withdrawn(
    checked: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.silos.agent._WANTED_S", 0.2)
    begun, end = threading.Event(), threading.Event()

    class Slow(ThreadPoolExecutor):
        def submit(self, *_: Any, **__: Any) -> Any:
            begun.set()
            return super().submit(end.wait, 60)

    order_id = checked.place(checked.order("train"))
    agent = Agent(checked.silo, checked.client(), lambda: Slow(1), checked.said.append)
    thread = threading.Thread(target=agent.do_next, args=(5.0,))
    thread.start()
    assert begun.wait(20)
    checked.book.withdraw([order_id])
    # A thread cannot be killed as the agent's process is.
    threading.Timer(1.0, end.set).start()
    thread.join(20)
    assert any(line.startswith("Withdrawn: train") for line in checked.said)
    assert checked.outcome(order_id)[0] == "withdrawn"


def test_an_order_that_this_version_cannot_read_fails_and_the_agent_goes_on(checked: Town) -> None:
    engine = open_database(checked.server.home)
    order_id = checked.place(checked.order("train"))
    with engine.begin() as connection:
        connection.exec_driver_sql("update orders set body = replace(body, '\"train\"', '\"dance\"')")
    assert checked.agent().do_next(5.0)
    assert checked.outcome(order_id) == ("failed", "UnreadableOrder")
    assert not checked.agent().do_next(0.2)


def test_a_process_that_dies_between_orders_or_during_one_is_replaced(checked: Town) -> None:
    class Dying(ThreadPoolExecutor):
        """An executor whose process is found dead a number of times."""

        left = 0

        def submit(self, *arguments: Any, **named: Any) -> Any:
            if Dying.left:
                Dying.left -= 1
                raise BrokenProcessPool
            return super().submit(*arguments, **named)

    agent = Agent(checked.silo, checked.client(), lambda: Dying(1), checked.said.append)
    order_id = checked.place(checked.order("train"))
    Dying.left = 1
    assert agent.do_next(5.0)
    assert checked.outcome(order_id)[0] == "answered"


def test_what_the_gateway_never_takes_fails_the_order(checked: Town) -> None:
    checked.server.stop()
    checked.server.settings = {"max_object_bytes": 100}
    checked.server.start()
    order_id = checked.place(checked.order("train"))
    assert checked.agent().do_next(5.0)
    assert checked.outcome(order_id) == ("failed", "NotTaken")
    assert not checked.agent().do_next(0.2)


def test_what_is_ready_is_kept_while_the_silo_is_not_trusted(checked: Town) -> None:
    order_id = checked.place(checked.order("train"))
    agent, trust = checked.agent(), TrustStore(checked.server.home)
    agent._client.send_answer = _away  # type: ignore[method-assign]
    with pytest.raises(GatewayAway):
        agent.do_next(5.0)
    trust.remove("ash")
    with pytest.raises(GatewayRefused, match="revoked"):
        checked.agent().do_next(0.2)
    trust.trust("ash", load_key(checked.silo.home).public)
    checked.agent().do_next(0.2)
    assert checked.outcome(order_id)[0] == "answered"


def test_another_coordinator_is_not_believed(town: Town) -> None:
    stranger = make_key(Home(town.silo.home.root.with_name("stranger"))).public
    client = GatewayClient(Address(town.server.url, fingerprint(stranger)), load_key(town.silo.home))
    with pytest.raises(ForgedAnswer, match="has the key"):
        client.facts()


def test_an_invitation_enrols_one_key_once(town: Town) -> None:
    invitations = Invitations(open_database(town.server.home))
    token = invitations.make("oak", until=4e9)
    home = Home(town.silo.home.root.with_name("oak"))
    address = Address(town.server.url, fingerprint(own_key(town.server.home).public))
    client = GatewayClient(address, make_key(home))
    for silo, wrong in (("elm", token), ("oak", "x")):
        with pytest.raises(GatewayRefused, match="invitation"):
            client.enrol(silo, wrong)
    for _ in range(2):  # the answer to the first time may be lost
        client.enrol("oak", token)
    assert client.facts()["silo"] == "oak"
    other = GatewayClient(address, make_key(Home(home.root.with_name("thief"))))
    with pytest.raises(GatewayRefused, match="invitation"):
        other.enrol("oak", token)
    assert client.facts()["silo"] == "oak"


def test_an_expired_invitation_enrols_nobody(town: Town) -> None:
    token = Invitations(open_database(town.server.home)).make("oak", until=1.0)
    address = Address(town.server.url, fingerprint(own_key(town.server.home).public))
    client = GatewayClient(address, make_key(Home(town.silo.home.root.with_name("oak"))))
    with pytest.raises(GatewayRefused, match="expired"):
        client.enrol("oak", token)
    assert set(TrustStore(town.server.home).keys()) == {"ash"}


def test_an_agent_with_another_name_than_its_key_ends(town: Town) -> None:
    agent = Agent(replace(town.silo, name="birch"), town.client(), _thread, town.said.append)
    with pytest.raises(GatewayRefused, match=r"knows this key as silo 'ash'.*Set name: ash"):
        agent.run()
    assert town.said == []


def test_an_agent_of_another_protocol_is_told_what_to_install(town: Town) -> None:
    class Newer(GatewayClient):
        """A client of a gateway that serves later protocols alone."""

        def facts(self) -> dict[str, Any]:
            return {**super().facts(), "oldest_protocol": 2, "protocol": 3, "version": "9.1"}

    address = Address(town.server.url, fingerprint(own_key(town.server.home).public))
    agent = Agent(town.silo, Newer(address, load_key(town.silo.home)), _thread, town.said.append)
    with pytest.raises(
        GatewayRefused, match=r"speaks protocol 1, but the gateway 2 to 3. Install fedrec 9.1"
    ):
        agent.run()
