"""Prefect's log: lines of our own in the log of a run, and no stack traces of fedrec's own errors."""

from __future__ import annotations

import logging
import sys

from models.errors import FedrecError

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")
_RUN_LOGGER = "fedrec"
# With what Prefect reports a state that a task returned, before it reports how the task ended.
_ENDED_BADLY = "Task run failed with state"
# Name of the tasks of `tasks.orchestration.groups`.
GROUP = "group"


class _OwnErrors(logging.Filter):
    """Drops Prefect's report of a `FedrecError`, because the caller of the flow or task reports the error.

    A task that ends in a failed state, as that of a silo, raises nothing. Of its two reports the first one is
    left out, because the second one says the same.

    Groups of tasks are left out too, because their errors are those of their tasks. The error stays in
    Prefect's records, as the message of the failed run's state.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if error is None:
            # Otherwise the trace of no error is written: "NoneType: None".
            record.exc_info = None
            if record.getMessage().startswith(_ENDED_BADLY):
                return False
        return not isinstance(error, FedrecError) and getattr(record, "task_name", None) != GROUP


def report_own_errors_once() -> None:
    """Filter Prefect's loggers of this process, so that only fedrec reports a `FedrecError`."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _OwnErrors) for each in logger.filters):
            logger.addFilter(_OwnErrors())


def write_run_log(text: str) -> None:
    """Write an INFO line to Prefect's log of the current flow run; does nothing outside a flow run.

    The line does not appear in the terminal and does not depend on `PREFECT_LOGGING_LEVEL`, which is ERROR so
    that thousands of task runs write no lines.
    """
    if "prefect" not in sys.modules:
        return
    from prefect.context import FlowRunContext
    from prefect.logging.handlers import APILogHandler

    if FlowRunContext.get() is None:
        return
    logger = logging.getLogger(_RUN_LOGGER)
    if not logger.handlers:
        logger.setLevel(logging.INFO)
        logger.propagate = False
        logger.addHandler(APILogHandler())
    logger.info("%s", text)


def send_run_log() -> None:
    """Send the lines that wait, because a server that this process started ends with it."""
    from prefect.logging.handlers import APILogHandler

    APILogHandler().flush()
