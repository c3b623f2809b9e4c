"""The orders in SQLite and PostgreSQL: placed once, ended once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from models.errors import NotFound
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.exchange.store import ArtifactRef
from tasks.gateway.database import open_database
from tasks.gateway.order_book import OrderBook
from tasks.gateway.visits import SeenSilo, Visit, Visits
from tasks.local.home import Home
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.steps import StepOrder


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    is_file = request.param == "sqlite"
    url = None if is_file else str(request.getfixturevalue("postgres_url"))
    made = open_database(Home(tmp_path), url)
    yield made
    made.dispose()


def order(silo: str, round_: int = 1, job_id: str = "job-1") -> StepOrder:
    context = JobContext(job_id, 1, LightFMSpec(dims=4), "x", "x", "0" * 64, "x", 1, 9)
    base = ArtifactRef(f"{job_id}/models/{round_}.safetensors", f"{round_:064d}", 10)
    return StepOrder("train", ClientOrder(context, silo, round_, base, StartingPoint(None, 0)))


def test_an_order_comes_back_as_it_was_placed(engine: Engine) -> None:
    book = OrderBook(engine)
    ids = book.place([order("ash"), order("birch")])
    found = book.first_open(["ash", "birch", "cedar"])
    assert {silo: each.id for silo, each in found.items()} == ids
    assert found["ash"].order == order("ash")
    assert set(found["ash"].objects) == {f"{1:064d}"}
    assert book.find("ash", ids["ash"]) == found["ash"]
    with pytest.raises(NotFound):
        book.find("birch", ids["ash"])


def test_a_new_attempt_withdraws_the_silos_open_order_of_the_job(engine: Engine) -> None:
    book = OrderBook(engine)
    first = book.place([order("ash"), order("birch")])
    other = book.place([order("ash", job_id="job-2")])
    again = book.place([order("ash", 2)])
    states = book.states([*first.values(), *other.values(), *again.values()])
    assert {id_: state for id_, (state, _) in states.items()} == {
        first["ash"]: "withdrawn",
        first["birch"]: "open",
        other["ash"]: "open",
        again["ash"]: "open",
    }
    assert book.first_open(["ash"])["ash"].id == other["ash"]  # the one placed first


def test_of_many_ends_at_once_one_counts(engine: Engine) -> None:
    book = OrderBook(engine)
    (id_,) = book.place([order("ash")]).values()
    won: list[str] = []

    def end(outcome: str) -> None:
        if book.end(id_, "answered", outcome):
            won.append(outcome)

    threads = [threading.Thread(target=end, args=(str(number),)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert book.states([id_])[id_] == ("answered", won[0])


def test_the_first_fetch_counts(engine: Engine) -> None:
    book = OrderBook(engine)
    (id_,) = book.place([order("ash")]).values()
    assert book.find("ash", id_).fetched_at is None
    book.note_fetched([id_])
    first = book.find("ash", id_).fetched_at
    book.note_fetched([id_])
    assert first and book.find("ash", id_).fetched_at == first


def enter(visits: Visits, key_id: str, nonce: str, until: float = 4e9, at: float = 1.0) -> bool:
    (is_new,) = visits.enter([Visit(key_id, nonce, until, SeenSilo("ash", at, 0.5, "0.1.0", None))])
    return is_new


def test_a_nonce_is_used_once_per_key(engine: Engine) -> None:
    visits = Visits(engine)
    assert enter(visits, "k", "n")
    assert not enter(visits, "k", "n", at=2.0)
    assert visits.all()["ash"].seen_at == 1.0
    assert enter(visits, "other", "n")


def test_of_one_nonce_twice_in_a_group_the_first_counts(engine: Engine) -> None:
    visits = Visits(engine)
    assert enter(visits, "k", "before")
    ash, birch = (SeenSilo(silo, 3.0, 0.5, None, None) for silo in ("ash", "birch"))
    nonces = [("new", ash), ("before", ash), ("new", birch), ("newer", birch)]
    group = [Visit("k", nonce, 4e9, seen) for nonce, seen in nonces]
    assert visits.enter(group) == [True, False, False, True]
    assert visits.enter(group) == [False] * 4
    assert {silo: each.seen_at for silo, each in visits.all().items()} == {"ash": 3.0, "birch": 3.0}


def test_of_many_requests_with_one_nonce_one_counts(engine: Engine) -> None:
    visits, entered = Visits(engine), list[bool]()
    threads = [threading.Thread(target=lambda: entered.append(enter(visits, "k", "n"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(entered) == [False] * 7 + [True]


def test_old_nonces_are_forgotten(engine: Engine) -> None:
    assert enter(Visits(engine), "k", "old", until=1.0)
    # A process forgets at its first use.
    assert enter(Visits(engine), "k", "new")
    assert enter(Visits(engine), "k", "old")


def test_a_silos_newest_visit_is_kept(engine: Engine) -> None:
    visits = Visits(engine)
    enter(visits, "k", "1", at=1.0)
    visits.note({"ash": "sent an update"})
    enter(visits, "k", "2", at=2.0)
    assert visits.all() == {"ash": SeenSilo("ash", 2.0, 0.5, "0.1.0", "sent an update")}
