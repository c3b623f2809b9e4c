"""Clients that work on beyond their deadline are known in other processes until they end."""

from __future__ import annotations

import os
import time
from pathlib import Path
from threading import Event

import pytest

from tasks.clients.shared_work import Unanswered
from tasks.clients.work_signs import WorkSigns
from tests.waiting import until


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    path = tmp_path / ".cluster-1"
    path.touch()
    return path


def test_a_client_gives_signs_until_it_ends(mark: Path) -> None:
    ended, signs = Event(), WorkSigns(mark)
    WorkSigns(mark).give_while({"ash": Unanswered("late", ended), "birch": Unanswered("not begun", None)})
    assert (signs.is_given("ash"), signs.is_given("birch")) == (True, False)
    ended.set()
    until(lambda: not signs.is_given("ash"), 10)
    assert [path.name for path in mark.parent.iterdir()] == [mark.name]


def test_an_old_sign_is_that_of_a_process_that_ended(mark: Path) -> None:
    signs, now = WorkSigns(mark), time.time()
    mark.with_name(".cluster-1-ash").touch()
    os.utime(mark.with_name(".cluster-1-ash"), (now - 3, now - 3))
    assert signs.is_given("ash")
    os.utime(mark.with_name(".cluster-1-ash"), (now - 60, now - 60))
    assert not signs.is_given("ash")


def test_signs_end_with_the_job(mark: Path) -> None:
    signs, ended = WorkSigns(mark), Event()
    signs.give_while({"ash": Unanswered("late", ended)})
    signs.remove()
    # As by a sign that is given while the others are removed.
    mark.with_name(".cluster-1-ash").touch()
    until(lambda: list(mark.parent.iterdir()) == [], 10)
    time.sleep(1.5)  # a sign each second
    assert list(mark.parent.iterdir()) == []
    assert not signs.is_given("ash")
    ended.set()
