"""Requests that wait for orders while the database is slow or away. "No order" ends an agent's work."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from tasks.gateway.api import order_watch
from tasks.gateway.api.order_watch import OrderWatch
from tasks.gateway.database import open_database
from tasks.gateway.order_book import OrderBook, PlacedOrder
from tasks.local.home import Home
from tasks.web.problem import Problem
from tests.tasks.gateway.conftest import Door


async def never() -> None:
    await asyncio.Event().wait()


def asked(book: OrderBook, errors: list[Exception], silo: str = "ash") -> PlacedOrder | None:
    """Return the silo's order, by a request that does not wait."""

    async def ask() -> PlacedOrder | None:
        watch = OrderWatch(book, errors.append)
        async with watch.looking():
            return await watch.next_for(silo, 0.0, never)

    return asyncio.run(ask())


def test_a_slow_database_does_not_look_like_no_order(door: Door) -> None:
    database = door.home.root / "gateway" / "gateway.db"
    with sqlite3.connect(database, isolation_level=None, check_same_thread=False) as connection:
        # Nobody else can note that the order was fetched.
        connection.execute("BEGIN IMMEDIATE")
        threading.Timer(1.0, connection.execute, ("COMMIT",)).start()
        found = asked(door.book, [])
    assert found is not None
    assert found.id == door.ids["ash"]
    assert asked(door.book, [], "nobody") is None


def test_a_database_that_is_away_does_not_look_like_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_watch, "_LOOK_WITHIN_S", 0.3)
    engine = open_database(Home(tmp_path))
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE orders"))
    errors: list[Exception] = []
    with pytest.raises(Problem) as denied:
        asked(OrderBook(engine), errors)
    assert denied.value.status == 503
    assert len(errors) == 1  # it does not fill the log
