"""All rows of `fedrec bench attacks`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from models.evaluation.protocols import LEAVE_ONE_OUT
from tasks.bench.attacks.cases import dealt, most_used
from tasks.bench.attacks.plans import (
    BLEND_ITEMS,
    CLIENTS,
    blend_plan,
    blend_reading,
    lightfm_plan,
    lightfm_reading,
    private_readings,
)
from tasks.bench.attacks.poisoning import poisoning_rows
from tasks.bench.attacks.reading import reading_rows
from tasks.bench.quality.cases import BenchClient, Learner, by_client, by_user, clients_of
from tasks.bench.quality.table_rows import Announce
from tasks.datasets.partition_reader import Partition

_SEEDS = (1, 2, 3)
# Users of a client, in the deals that are read.
_DEALT = (5, 50)


def attack_rows(
    partition: Partition, *, liars: Sequence[int], quick: bool, announce: Announce, threads: int = 1
) -> Iterator[dict[str, Any]]:
    """Yield the rows of both tables; `part` is "reading" or "poisoning".

    Args:
        partition: the data, with one client per silo. Its users are dealt to other clients, too.
        liars: numbers of liars that join the honest clients.
        quick: measure LightFM only, with one seed, few defences and the silos' own updates.
        announce: is called with a line of text for each step.
        threads: number of federations trained at once.
    """
    clients = clients_of(partition, LEAVE_ONE_OUT, "validation")
    deals = {"silos": by_client(clients)} if quick else deals_of(clients)
    families = (lightfm_reading(),) if quick else (lightfm_reading(), blend_reading())
    for reading in (*families, *private_readings()):
        for row in reading_rows(deals, reading, announce):
            yield {"part": "reading"} | row
    count = min(CLIENTS, sum(len(client.user_ids) for client in clients))
    for row in poisoning_rows(clients, lightfm_plan(count, liars, _SEEDS, quick=quick), announce, threads):
        yield {"part": "poisoning"} | row
    if not quick:
        few = most_used(clients, BLEND_ITEMS)
        for row in poisoning_rows(few, blend_plan(count, liars, _SEEDS), announce, threads):
            yield {"part": "poisoning"} | row


def deals_of(clients: tuple[BenchClient, ...]) -> dict[str, dict[str, Learner]]:
    """Return name -> clients: one for each user, a few users in each, and the silos themselves."""
    users = sum(len(client.user_ids) for client in clients)
    few = {f"{size} users": dealt(clients, max(1, users // size), seed=1) for size in _DEALT}
    return {"1 user": by_user(clients), **few, "silos": by_client(clients)}
