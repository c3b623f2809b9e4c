"""The exit code of a failed flow run, as a label of the run, for whoever waits for the run elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any
from uuid import UUID

import httpx

from models.errors import FedrecError
from tasks.orchestration.retries import retry_while_away

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import State

_LABEL = "fedrec.exit_code"
# Prefect calls hooks after it has stored the state.
_LABELLED_S = 5.0
_LOOK_S = 0.25


def label_exit_code(flow: Any, flow_run: Any, state: State[Any]) -> None:
    """Label a failed flow run with its error's exit code. This is a hook for `on_failure`."""
    from prefect.client.orchestration import get_client

    error = state.result(raise_on_failure=False)
    if not isinstance(error, FedrecError):
        return
    labels: Any = {_LABEL: error.exit_code}

    def put() -> None:
        with get_client(sync_client=True) as client:
            client.update_flow_run_labels(flow_run.id, labels)

    # The state tells the reason anyway, so a missing label must not fail the run.
    with contextlib.suppress(httpx.HTTPError):
        retry_while_away(put)


def exit_code_of(client: SyncPrefectClient, flow_run_id: UUID) -> int:
    """Return the exit code of a flow run that has just failed; 1 if none is noted."""
    give_up = time.monotonic() + _LABELLED_S
    while time.monotonic() < give_up:
        found = client.read_flow_run(flow_run_id).labels.get(_LABEL)
        if isinstance(found, int) and not isinstance(found, bool):
            return found
        time.sleep(_LOOK_S)
    return FedrecError.exit_code
