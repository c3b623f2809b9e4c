"""Tells temporary outages of MLflow from errors that another try cannot repair."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from models.errors import FedrecError, TrackingUnavailable

if TYPE_CHECKING:
    from mlflow import MlflowClient

P = ParamSpec("P")
T = TypeVar("T")

# From an overloaded server, a proxy whose server is down, or a server that cannot use its database.
_PASSING = {429, 502, 503, 504}


def is_outage(error: BaseException, client: MlflowClient | None = None) -> bool:
    """Return whether MLflow's server or database is unavailable.

    Args:
        error: the error that a call raised.
        client: used for one simple call if the error itself is ambiguous, as after a failed upload.
    """
    if isinstance(error, FedrecError):
        return False
    return any(_says_so(each) for each in _chain(error)) or (client is not None and not _answers(client))


def unavailable(error: BaseException) -> TrackingUnavailable:
    """Return the outage as a fedrec error with the next step."""
    uri = os.environ.get("MLFLOW_TRACKING_URI", "MLflow")
    return TrackingUnavailable(
        f"MLflow does not answer at {uri}: {reason_of(error)}.",
        next_step="Nothing was half done. Once MLflow is back, run the same command again.",
        uri=uri,
    )


def reason_of(error: BaseException) -> str:
    """Return the error's first line."""
    return str(error).strip().partition("\n")[0][:300].rstrip(".") or type(error).__name__


def line_of(error: Exception) -> str:
    """Return an error as one line without a full stop."""
    if isinstance(error, FedrecError):
        return " ".join(str(error).split()).rstrip(".")
    kind = type(error).__name__
    text = reason_of(error)
    return text if kind in (text, "MlflowException") else f"{kind}: {text}"


def names_outages(function: Callable[P, T]) -> Callable[P, T]:
    """Wrap a function so that it raises `TrackingUnavailable` if MLflow is unavailable."""

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            if is_outage(error):
                raise unavailable(error) from error
            raise

    return wrapped


def _says_so(error: BaseException) -> bool:
    from mlflow.exceptions import MlflowException
    from requests import ConnectionError as Unconnected
    from requests import Timeout

    # The last two are from a store of artefacts that MLflow does not serve itself.
    if isinstance(error, Unconnected | Timeout | ConnectionError | TimeoutError):
        return True
    if not isinstance(error, MlflowException):
        return False
    return error.error_code == "TEMPORARILY_UNAVAILABLE" or error.get_http_status_code() in _PASSING


def _answers(client: MlflowClient) -> bool:
    try:
        client.search_experiments(max_results=1)
    except Exception:  # noqa: BLE001 - whatever it is, MLflow does not answer
        return False
    return True


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
