"""Measures a gateway on this machine: orders to many waiting silos, uploads, and the rounds of a job."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from threading import Event, Thread
from typing import Any

from models.errors import FedrecError
from tasks.bench.gateway.rounds import bench_rounds
from tasks.bench.gateway.silos_at_once import Arrival, wait_at_once
from tasks.bench.gateway.uploads import UPLOAD_BYTES, bench_uploads
from tasks.bench.gateway.world import World, open_world

_START_S = 60.0
# Seconds after every silo had an answer, until all wait.
_SETTLED_S = 5.0
# Orders a second while they come one by one.
_PER_SECOND = 20


@dataclass(frozen=True)
class GatewayBench:
    """What is measured.

    Attributes:
        silos: number of silos that wait at once.
        seconds: length of each load.
        uploaders: silos that upload at once.
        rounds: rounds of a job by Prefect workers and by the gateway; 0 for none.
        prefect_database: URL of Prefect's database; None for SQLite.
    """

    silos: int
    seconds: float
    uploaders: int
    rounds: int
    prefect_database: str | None = None


def bench_gateway(folder: Path, asked: GatewayBench, announce: Callable[[str], None]) -> dict[str, Any]:
    """Return the figures of orders one by one and at once, of uploads, of the memory, and of the rounds.

    Args:
        folder: an empty folder.
        asked: what is measured.
        announce: told of each step.
    """
    found: dict[str, Any] = {"silos": asked.silos, "processors": os.cpu_count()}
    with open_world(folder / "gateway", asked.silos) as world:
        announce(f"{asked.silos} silos wait for orders, which come one by one.")
        count = round(asked.seconds * _PER_SECOND)
        found["one_by_one"] = _delivered(world, _one_by_one(sorted(world.keys), count))
        announce("All get an order at once.")
        found["at_once"] = _delivered(world, lambda place: place(sorted(world.keys)))
        waiting_mb = world.process.memory_info().rss / 1e6
        announce(f"{asked.uploaders} silos send updates of {UPLOAD_BYTES:,} bytes for {asked.seconds:g} s.")
        found["uploads"] = bench_uploads(world, asked.uploaders, asked.seconds)
        found["memory_mb"] = round(max(waiting_mb, world.process.memory_info().rss / 1e6), 1)
    if asked.rounds:
        found["rounds"] = bench_rounds(folder / "rounds", asked.rounds, announce, asked.prefect_database)
    return found


def _one_by_one(silos: Sequence[str], count: int) -> Callable[[Callable[[Sequence[str]], None]], None]:
    # Each at most once: a silo that has an order does not wait for the next one at once.
    chosen = random.Random(1).sample(silos, k=min(count, len(silos)))  # noqa: S311

    def place_all(place: Callable[[Sequence[str]], None]) -> None:
        for silo in chosen:
            place([silo])
            time.sleep(1 / _PER_SECOND)

    return place_all


def _delivered(world: World, place_all: Callable[[Callable[[Sequence[str]], None]], None]) -> dict[str, Any]:
    """Let all silos wait, place orders, and return how long each took to arrive."""
    placed: dict[str, float] = {}
    book, arrivals = world.book, list[Arrival]()
    ready, end = Event(), Event()
    silos = wait_at_once(world.url, world.keys, world.coordinator, world.trusted, arrivals.append, ready, end)
    waiting = Thread(target=asyncio.run, args=(silos,))
    waiting.start()
    if not ready.wait(_START_S):
        raise FedrecError("The silos did not get their first answer.")
    time.sleep(_SETTLED_S)

    def place(silos: Sequence[str]) -> None:
        orders = [world.order(silo, len(placed) + 1) for silo in silos]
        now = time.time()
        placed.update(dict.fromkeys(book.place(orders).values(), now))

    before = world.spent()
    place_all(place)
    give_up = time.monotonic() + _START_S
    while len({each.order_id for each in arrivals}) < len(placed) and time.monotonic() < give_up:
        time.sleep(0.05)
    took = world.spent() - before
    end.set()
    waiting.join()
    book.withdraw(list(placed))
    first: dict[str, float] = {}
    for each in arrivals:
        first.setdefault(each.order_id, each.at)
    ms = sorted(1000 * (first[order_id] - at) for order_id, at in placed.items() if order_id in first)
    cuts = quantiles(ms, n=100, method="inclusive")
    return {
        "orders": len(placed),
        "delivered": len(ms),
        "p50_ms": round(cuts[49], 1),
        "p99_ms": round(cuts[98], 1),
        "gateway_cores": round(took.gateway_s / took.wall_s, 3),
        "silos_cores": round(took.silos_s / took.wall_s, 3),
    }
