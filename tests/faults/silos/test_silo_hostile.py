"""A silo with a real worker and a trusted key that lies. Each lie costs that silo its round only."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.lies import ANSWERS, EVERY, FIRST_LIE, UPDATES
from tests.faults.real_silos import Silos

pytestmark = [pytest.mark.minutes, pytest.mark.timeout(1800)]


@contextmanager
def no_more_memory_than(room: int) -> Iterator[None]:
    """Limit this process to `room` bytes more of address space than it has. Requests for more fail."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def test_every_lie_costs_the_silo_its_round_only(silos: Silos) -> None:
    silos.start("ash", "birch")
    silos.start("cedar", program="tests.faults.hostile_silo")
    # No silo is late.
    config = silos.config(rounds=FIRST_LIE + len(EVERY), deadline_s=900)
    # Threads and their arenas take address space too, but no terabyte.
    with no_more_memory_than(8 * 2**30):
        result = silos.federation.run(config)
    stages = dict.fromkeys(UPDATES, "update") | dict.fromkeys(ANSWERS, "training")
    lost = {round_: {"cedar": stages[lie]} for round_, lie in enumerate(EVERY, FIRST_LIE)}
    silos.federation.check(config, result, lost)
    for round_, lie in enumerate(EVERY, FIRST_LIE):
        (rejection,) = result["rounds"][round_ - 1]["rejected"]
        assert (UPDATES | ANSWERS)[lie][1] in rejection["reason"], lie
