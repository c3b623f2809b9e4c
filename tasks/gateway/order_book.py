"""The orders of the gateway's silos, in a database that the coordinator's flows and the gateway share.

A flow places orders and reads how they ended. The gateway hands them out and notes the answers. So both sides
may stop at any moment: what is written is whole, and an open order is handed out again.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    Column,
    Engine,
    Float,
    Integer,
    String,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    select,
    update,
)

from models.errors import NotFound
from models.federation.envelope import AnswerContext
from tasks.exchange.store import ArtifactRef
from tasks.gateway.database import TABLES
from tasks.messages.steps import StepOrder
from tasks.messages.sum_orders import SumOrder, answer_kind

State = Literal["open", "answered", "failed", "withdrawn"]
_KEPT_S = 30 * 86_400
_ORDERS = Table(
    "orders",
    TABLES,
    Column("number", Integer, primary_key=True, autoincrement=True),
    Column("id", String(36), unique=True, nullable=False),
    Column("silo", String(128), index=True, nullable=False),
    Column("job_id", String(128), nullable=False),
    Column("body", Text, nullable=False),
    Column("state", String(16), index=True, nullable=False),
    # The answer's SHA-256, or the kind of error.
    Column("outcome", Text),
    Column("placed_at", Float, nullable=False),
    Column("fetched_at", Float),
    Column("ended_at", Float),
)
# Built once: to build a statement takes longer than to execute it.
_FIND = select(_ORDERS).where(_ORDERS.c.id.in_(bindparam("ids", expanding=True)))


@dataclass(frozen=True)
class PlacedOrder:
    """An order that a silo has got, or will get.

    Attributes:
        id: names the order to the silo.
        silo: the silo.
        body: the order, as `StepOrder.as_json` writes it.
        state: "open" until it ends.
        outcome: SHA-256 of the silo's answer, or the kind of error with which it failed; None while open.
        fetched_at: Unix time at which the silo first got it; None before.
    """

    id: str
    silo: str
    body: Mapping[str, Any]
    state: State
    outcome: str | None
    fetched_at: float | None

    @property
    def order(self) -> StepOrder:
        """Return the order."""
        return StepOrder.of_json(self.body)

    @property
    def context(self) -> AnswerContext:
        """Return what an answer to the order must be about."""
        order = self.body["order"]
        job_id, base_sha256 = order["job"]["job_id"], order["base"]["sha256"]
        kind = answer_kind(self.body["step"], SumOrder.of_json(order["sum"]) if order.get("sum") else None)
        return AnswerContext(self.silo, kind, job_id, order["round"], base_sha256)

    @property
    def objects(self) -> dict[str, ArtifactRef]:
        """Return SHA-256 -> reference of each object that the silo may read for this order."""
        named = [self.body["order"]["base"]]
        if self.body["step"] == "check":
            named.append(self.body["arguments"]["items"])
        if step := self.body["order"].get("base_step"):
            named.append(step["sum"])
        return {each["sha256"]: ArtifactRef(**each) for each in named}


class OrderBook:
    """The orders in one database.

    Args:
        engine: of `tasks.gateway.database.open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def place(self, orders: Collection[StepOrder]) -> dict[str, str]:
        """Place one order for each silo, and return silo -> the order's id.

        Open orders of the same silos and job are withdrawn: they belong to an earlier attempt. Orders that
        ended a month ago are deleted.
        """
        now = time.time()
        rows = [
            {
                "id": str(uuid.uuid4()),
                "silo": each.order.client_id,
                "job_id": each.order.job.job_id,
                "body": json.dumps(each.as_json()),
                "state": "open",
                "placed_at": now,
            }
            for each in orders
        ]
        silos: dict[str, list[str]] = {}
        for each in orders:
            silos.setdefault(each.order.job.job_id, []).append(each.order.client_id)
        with self._engine.begin() as connection:
            connection.execute(delete(_ORDERS).where(_ORDERS.c.ended_at < now - _KEPT_S))
            for job_id, names in silos.items():
                connection.execute(
                    update(_ORDERS)
                    .where(_ORDERS.c.silo.in_(names), _ORDERS.c.job_id == job_id, _ORDERS.c.state == "open")
                    .values(state="withdrawn", ended_at=now)
                )
            if rows:
                connection.execute(insert(_ORDERS), rows)
        return {str(row["silo"]): str(row["id"]) for row in rows}

    def first_open(self, silos: Collection[str]) -> dict[str, PlacedOrder]:
        """Return the first open order of each of these silos that has one."""
        query = (
            select(_ORDERS)
            .where(_ORDERS.c.state == "open", _ORDERS.c.silo.in_(silos))
            .order_by(_ORDERS.c.number.desc())
        )
        with self._engine.connect() as connection:
            first = {row.silo: row for row in connection.execute(query)}
        return {silo: _placed(row) for silo, row in first.items()}

    def find(self, silo: str, order_id: str) -> PlacedOrder:
        """Return a silo's order.

        Raises:
            NotFound: the silo has no such order.
        """
        placed = self.find_all([order_id]).get(order_id)
        if placed is None or placed.silo != silo:
            raise NotFound(f"Silo {silo!r} has no order {order_id!r}.")
        return placed

    def find_all(self, ids: Collection[str]) -> dict[str, PlacedOrder]:
        """Return those of these orders that exist, of any silo, by id."""
        with self._engine.connect() as connection:
            return {row.id: _placed(row) for row in connection.execute(_FIND, {"ids": list(ids)})}

    def states(self, ids: Collection[str]) -> dict[str, tuple[State, str | None]]:
        """Return id -> (state, outcome) of these orders."""
        query = select(_ORDERS.c.id, _ORDERS.c.state, _ORDERS.c.outcome).where(_ORDERS.c.id.in_(ids))
        with self._engine.connect() as connection:
            return {row.id: (row.state, row.outcome) for row in connection.execute(query)}

    def note_fetched(self, ids: Collection[str]) -> None:
        """Note that these orders were handed out now, unless they were before."""
        with self._engine.begin() as connection:
            connection.execute(
                update(_ORDERS)
                .where(_ORDERS.c.id.in_(ids), _ORDERS.c.fetched_at.is_(None))
                .values(fetched_at=time.time())
            )

    def end(self, order_id: str, state: State, outcome: str) -> bool:
        """End an open order, and return whether it was open. Of several calls at once, one ends it."""
        with self._engine.begin() as connection:
            done = connection.execute(
                update(_ORDERS)
                .where(_ORDERS.c.id == order_id, _ORDERS.c.state == "open")
                .values(state=state, outcome=outcome, ended_at=time.time())
            )
        return done.rowcount == 1

    def withdraw(self, ids: Collection[str]) -> None:
        """Withdraw those of these orders that are open."""
        with self._engine.begin() as connection:
            connection.execute(
                update(_ORDERS)
                .where(_ORDERS.c.id.in_(ids), _ORDERS.c.state == "open")
                .values(state="withdrawn", ended_at=time.time())
            )


def _placed(row: Any) -> PlacedOrder:
    return PlacedOrder(row.id, row.silo, json.loads(row.body), row.state, row.outcome, row.fetched_at)
