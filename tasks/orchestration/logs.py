"""Prefect's log, without a stack trace for what fedrec refuses on purpose."""

from __future__ import annotations

import logging

from models.errors import FedrecError

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class _OwnErrors(logging.Filter):
    """Drops Prefect's report of a `FedrecError`, because whoever called the flow or the task reports it.

    The error stays in Prefect's records, as the message of the failed run's state.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, FedrecError)


def report_own_errors_once() -> None:
    """A `FedrecError` in a flow or task of this process is told by fedrec alone, in one message."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _OwnErrors) for each in logger.filters):
            logger.addFilter(_OwnErrors())
