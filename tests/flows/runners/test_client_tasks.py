"""A failure in a job with noise leaves its details in the client's own log, and nowhere else."""

from __future__ import annotations

import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flows.runners.client_tasks import private
from models.errors import CatalogMismatch, SiloFailed
from models.privacy.noise_plan import NoisePlan
from tasks.clients.retries import is_transient
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import ClientOrder, StartingPoint
from tasks.privacy.own_log import note
from tests.worlds.jobs import job_of

DETAILS = "user 'eve' used item 'rope'"


@pytest.fixture
def order(partition_dir: Path, tmp_path: Path) -> ClientOrder:
    job = job_of(partition_dir, tmp_path, noise=NoisePlan(2.0, summands=2))
    return ClientOrder(job, "ash", 1, ArtifactRef("m", "0" * 64, 1), StartingPoint(None, 0))


def failing(error: Exception) -> Any:
    @private
    def step(order: ClientOrder) -> None:
        raise error

    return step


@pytest.mark.parametrize("error", [CatalogMismatch(DETAILS), ValueError(DETAILS)])
def test_an_error_says_its_kind_and_where_its_details_are(order: ClientOrder, error: Exception) -> None:
    with pytest.raises((SiloFailed, RuntimeError)) as caught:
        failing(error)(order)
    log = order.silo / "client.log"
    assert str(caught.value) == f"{type(error).__name__}; the client's own log {log} has the details."
    assert is_transient(caught.value) == is_transient(error)
    assert DETAILS not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None
    assert DETAILS in log.read_text()
    assert log.stat().st_mode & 0o077 == 0


def test_an_error_of_the_system_is_told_as_it_is(order: ClientOrder) -> None:
    error = OSError(28, "No space left on device", "/disk")
    with pytest.raises(OSError) as caught:
        failing(error)(order)
    assert caught.value is error


def test_an_error_is_told_even_if_the_log_cannot_be_written(order: ClientOrder) -> None:
    (order.silo / "client.log").mkdir(parents=True)
    with pytest.raises(SiloFailed, match=r"^CatalogMismatch; the client's own log"):
        failing(CatalogMismatch(DETAILS))(order)


def test_without_noise_nothing_changes(order: ClientOrder) -> None:
    error = CatalogMismatch(DETAILS)
    with pytest.raises(CatalogMismatch) as caught:
        failing(error)(replace(order, job=replace(order.job, noise=None)))
    assert caught.value is error
    assert not order.silo.exists()


def test_a_log_keeps_what_it_had(tmp_path: Path) -> None:
    for text in ("first", "second"):
        path = note(tmp_path / "ash", text)
    assert path.read_text().splitlines()[1::2] == ["first", "second"]
