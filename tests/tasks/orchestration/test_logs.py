"""Prefect's reports of failed tasks: no trace of an error that there is not."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from prefect import State, flow, task
from prefect.states import Failed

from models.errors import NotFound
from tasks.orchestration.logs import report_own_errors_once


@pytest.fixture
def written() -> Iterator[io.StringIO]:
    """Yield what the logger of Prefect's tasks writes."""
    report_own_errors_once()
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("prefect.task_runs")
    logger.addHandler(handler)
    yield stream
    logger.removeHandler(handler)


def test_a_task_that_ends_in_a_failed_state_is_reported_once(
    written: io.StringIO, prefect_server: None
) -> None:
    @flow
    def training() -> None:
        @task
        def silo() -> State[None]:
            return Failed(message="Silo 'ash' did not finish 'train'.")

        silo(return_state=True)

    training()
    lines = [each for each in written.getvalue().splitlines() if "ash" in each]
    assert lines == ["""Finished in state Failed("Silo 'ash' did not finish 'train'.")"""]


def test_a_report_without_an_error_has_no_trace(written: io.StringIO) -> None:
    # As Prefect reports it, outside of any `except`.
    logging.getLogger("prefect.task_runs").error("It failed.", exc_info=True)
    assert written.getvalue() == "It failed.\n"


def test_only_errors_of_others_have_one(written: io.StringIO) -> None:
    logger = logging.getLogger("prefect.task_runs")
    for error in (NotFound("ours"), ValueError("theirs")):
        logger.error("failed", exc_info=error)
    assert "ValueError: theirs" in written.getvalue()
    assert "ours" not in written.getvalue()
