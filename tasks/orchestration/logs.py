"""A filter for Prefect's log, which removes stack traces of fedrec's own errors."""

from __future__ import annotations

import logging

from models.errors import FedrecError

_LOGGERS = ("prefect.flow_runs", "prefect.task_runs")


class _OwnErrors(logging.Filter):
    """Drops Prefect's report of a `FedrecError`, because the caller of the flow or task reports the error.

    The error stays in Prefect's records, as the message of the failed run's state.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, FedrecError)


def report_own_errors_once() -> None:
    """Filter Prefect's loggers of this process, so that only fedrec reports a `FedrecError`."""
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        if not any(isinstance(each, _OwnErrors) for each in logger.filters):
            logger.addFilter(_OwnErrors())
