"""The charge of a job that was refused before any client trained, and that of one that may have trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from flows.jobs.privacy import charge, charging, guarantee_of, is_charged, settled_with_nothing
from models.errors import LeaseLost
from models.privacy.mechanisms import Mechanism
from models.recommenders.private.spec import DpItemsSpec
from tasks.jobs.journal import Journal, held
from tasks.local.home import Home
from tasks.privacy.account_file import now, read_account
from tests.worlds.records import opening
from tests.worlds.small_jobs import small_job


@pytest.fixture
def promised(tmp_path: Path) -> tuple[Home, Callable[..., object]]:
    """Return a home, and what opens or continues its job with noise as a process does."""
    home = Home(tmp_path)
    config = small_job(
        tmp_path / "partition",
        train=DpItemsSpec(),
        federation={"rounds": 2},
        privacy={"unit": "user", "epsilon": 4.0, "budget": 8.0},
    )
    guarantee = guarantee_of(config, ("ash", "birch", "cedar"))
    assert guarantee is not None

    @contextmanager
    def opened() -> Iterator[Journal]:
        used = partial(is_charged, home, guarantee)
        with held(
            home.jobs, "small", "k" * 64, opening(), take_over=charging(home, guarantee), is_used=used
        ) as journal:
            charge(home, journal.job_id, journal.opening)
            yield journal

    return home, opened


def spent(home: Home) -> list[Mechanism]:
    return read_account(home, "users")[0].spent("ever", now())


def test_a_job_that_asked_nobody_is_charged_nothing_until_it_goes_on(promised) -> None:
    home, opened = promised
    with opened() as journal:
        (charged,) = spent(home)
        assert settled_with_nothing(home, journal) == 0.0
        assert spent(home) == []
    # The next process continues the job, and asks clients.
    with opened() as again:
        assert again.job_id == journal.job_id
        assert spent(home) == [charged]
        again.note_asked()
        assert settled_with_nothing(home, again) is None
        assert spent(home) == [charged]
    with opened() as later:
        assert settled_with_nothing(home, later) is None
    assert spent(home) == [charged]


def test_a_job_of_a_version_that_did_not_note_whom_it_asked_stays_charged(promised) -> None:
    home, opened = promised
    with opened() as journal:
        (journal.folder / "unasked").unlink()
        assert settled_with_nothing(home, journal) is None
        journal.note_asked()
    assert len(spent(home)) == 1


def test_a_process_that_was_overtaken_settles_nothing_and_asks_nobody(promised) -> None:
    home, opened = promised
    with opened() as journal:
        # As the file of a later holder, which this process could not have noticed while it was paused.
        (journal.folder / "lease" / f"{journal.token + 1:06d}.lock").touch()
        for write in (partial(settled_with_nothing, home, journal), journal.note_asked):
            with pytest.raises(LeaseLost):
                write()
    assert len(spent(home)) == 1
    assert journal.is_unasked
