"""Clients that fail, hang or come too late take none of the other clients of their group with them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from models.errors import CorruptArtifact, SiloFailed
from tasks.clients.shared_work import SharedWork, Unanswered
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import ClientOrder, StartingPoint
from tests.worlds.jobs import job_of

CLIENTS = "abcdefgh"


@pytest.fixture
def orders(tmp_path: Path, partition_dir: Path) -> list[ClientOrder]:
    job = job_of(partition_dir, tmp_path)
    base = ArtifactRef("models/base", "0" * 64, 1)
    return [ClientOrder(job, client_id, 1, base, StartingPoint(None, 0)) for client_id in CLIENTS]


class Clients:
    """Clients of which some hang until they are released and some fail. The others answer with their name."""

    def __init__(self, hanging: str = "", failing: dict[str, list[BaseException]] | None = None) -> None:
        self.hanging, self.failing = hanging, failing or {}
        self.attempts: Counter[str] = Counter()
        self.released = threading.Event()

    def do(self, order: ClientOrder) -> str:
        self.attempts[order.client_id] += 1
        if order.client_id in self.hanging:
            self.released.wait(30)
        if errors := self.failing.get(order.client_id):
            raise errors.pop(0)
        return order.client_id.upper()


@contextlib.contextmanager
def served(
    groups: list[list[ClientOrder]], clients: Clients, deadline_s: float, threads: int = 1
) -> Iterator[tuple[SharedWork, dict[str, Any]]]:
    """Serve each group in a thread, yield the work and all answers, and release those that hang."""
    work = SharedWork(groups, clients.do, deadline_s)
    serving = [threading.Thread(target=work.serve, args=(number, threads)) for number in range(len(groups))]
    for each in serving:
        each.start()
    for each in serving:
        each.join()
    work.close()
    try:
        yield work, work.answers(CLIENTS)
    finally:
        clients.released.set()


def serve_groups(work: SharedWork, groups: int, threads: int) -> None:
    """Serve the groups at once until all clients have answered."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda group: work.serve(group, threads), range(groups)))


def answered(answers: dict[str, Any]) -> str:
    return "".join(client_id for client_id, answer in answers.items() if answer == client_id.upper())


@pytest.mark.parametrize(
    ("sizes", "threads"), [((8,), 1), ((8,), 3), ((4, 4), 1), ((1, 7), 2), ((3, 3, 2), 1)]
)
def test_each_client_answers_once_whatever_groups_and_threads(orders, sizes, threads):
    clients = Clients()
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    groups = [orders[end - size : end] for size, end in zip(sizes, ends, strict=True)]
    with served(groups, clients, 30, threads) as (_, answers):
        assert answers == {client_id: client_id.upper() for client_id in CLIENTS}
    assert clients.attempts == dict.fromkeys(CLIENTS, 1)


def test_a_client_that_hangs_leaves_the_others_of_its_group_to_another_group(orders):
    clients = Clients(hanging="a")
    # Its own group would wait for 15 s before it continues without it.
    work = SharedWork([orders[:4], orders[4:]], clients.do, 60)
    serving = [threading.Thread(target=work.serve, args=(number, 1)) for number in (0, 1)]
    for each in serving:
        each.start()
    deadline = time.monotonic() + 10
    while answered(work.answers(CLIENTS)) != "bcdefgh":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    clients.released.set()
    for each in serving:
        each.join()
    assert answered(work.answers(CLIENTS)) == CLIENTS


def test_a_group_continues_without_another_after_some_patience(orders):
    clients = Clients(hanging="bc")
    with served([orders], clients, 4) as (_, answers):
        assert answered(answers) == "adefgh"
        assert [str(answers[each]) for each in "bc"] == ["no answer within 4 s"] * 2
        assert all(answers[each].is_at_work for each in "bc")
    deadline = time.monotonic() + 10
    while any(answers[each].is_at_work for each in "bc"):
        assert time.monotonic() < deadline


def test_clients_that_have_not_begun_at_the_deadline_never_do(orders):
    clients = Clients(hanging=CLIENTS)
    with served([orders], clients, 0.5) as (work, answers):
        begun = {each for each in CLIENTS if answers[each].is_at_work}
        # At most one for each quarter of the deadline.
        assert {"a"} <= begun <= set("abcd")
        for each in set(CLIENTS) - begun:
            assert isinstance(answers[each], Unanswered)
            assert str(answers[each]) == "not begun within 0.5 s"
        assert work.take(0) is None
    # A late answer does not count.
    time.sleep(0.1)
    assert all(isinstance(each, Unanswered) for each in work.answers(CLIENTS).values())
    assert set(clients.attempts) == begun


def test_an_error_of_fedrec_is_the_client_s_answer_at_once(orders):
    error = CorruptArtifact("its file is damaged.")
    clients = Clients(failing={"c": [error]})
    with served([orders], clients, 30) as (_, answers):
        assert answers["c"] is error
        assert answered(answers) == "abdefgh"
    assert clients.attempts["c"] == 1


def test_other_errors_are_tried_again_twice(orders, monkeypatch):
    monkeypatch.setattr("tasks.clients.shared_work.RETRY_DELAY_S", 0.01)
    last = OSError("the third time")
    clients = Clients(
        failing={"c": [OSError("once")], "d": [OSError("once"), OSError("twice"), last, OSError("never")]}
    )
    with served([orders], clients, 30) as (_, answers):
        assert answers["d"] is last
        assert answered(answers) == "abcefgh"
    assert (clients.attempts["c"], clients.attempts["d"]) == (2, 3)


def test_no_attempt_is_made_after_the_deadline(orders):
    error = OSError("once")
    clients = Clients(failing={"c": [error]})
    with served([orders], clients, 0.9) as (_, answers):
        assert answers["c"] is error
    assert clients.attempts["c"] == 1


def test_what_is_not_even_an_exception_fails_one_client(orders):
    clients = Clients(failing={"c": [SystemExit(3)]})
    with served([orders], clients, 30) as (_, answers):
        assert isinstance(answers["c"], SiloFailed)
        assert "'c' ended with SystemExit: 3" in str(answers["c"])
        assert answered(answers) == "abdefgh"


@pytest.mark.parametrize("threads", [1, 2])
def test_clients_that_are_quick_enough_share_one_thread(orders, threads):
    served_by = set()

    def do(order: ClientOrder) -> str:
        time.sleep(0.03)  # so that another thread could begin
        served_by.add(threading.current_thread())
        return order.client_id

    groups = [orders[:4], orders[4:]] if threads == 1 else [orders]
    work = SharedWork(groups, do, 60, quick_s=60)
    serve_groups(work, len(groups), threads)
    assert work.answers(CLIENTS) == {client_id: client_id for client_id in CLIENTS}
    assert len(served_by) == 1


@pytest.mark.parametrize("threads", [1, 2])
def test_clients_that_are_not_quick_are_served_at_once(orders, threads):
    both = threading.Barrier(2)

    def do(order: ClientOrder) -> str:
        both.wait(30)  # one thread alone would never pass
        return order.client_id

    groups = [orders[:4], orders[4:]] if threads == 1 else [orders]
    work = SharedWork(groups, do, 60)
    serve_groups(work, len(groups), threads)
    assert work.answers(CLIENTS) == {client_id: client_id for client_id in CLIENTS}
