"""Keeps Prefect's records of our runs complete when its server stops, and correct after a crash.

Without `PREFECT_API_URL` Prefect starts a server as a child process for the time of one command. A killed
command leaves that server running and its flow run in state RUNNING; the next command ends both.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from http import HTTPStatus
from pathlib import Path
from typing import Any
from uuid import UUID

import psutil
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterId,
    TaskRunFilter,
    TaskRunFilterState,
    TaskRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.client.schemas.sorting import TaskRunSort
from prefect.exceptions import ObjectNotFound, PrefectHTTPStatusError
from prefect.settings import (
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    get_current_settings,
    temporary_settings,
)
from prefect.states import Cancelled, Crashed

from models.errors import InvalidConfig
from tasks.local.process_note import read_note, write_note
from tasks.orchestration.server import has_temporary_server

# The server stores task runs once a second (`tasks.local.environment`).
_STORED_S = 1.2
# Flow run -> its wait that has begun.
_begun: dict[str, Future[str | None]] = {}
# Number of looks in a row, because an event may still wait to be stored.
_QUIET = 3
_UNENDED = [StateType.PENDING, StateType.RUNNING, StateType.SCHEDULED]


@contextlib.contextmanager
def without_useless_heartbeats() -> Iterator[None]:
    """Run flows without heartbeats inside the block if the server ends with this process.

    Such a server has nothing that watches heartbeats. At a flow's end Prefect waits for up to a second until
    the thread that sends them has ended.
    """
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None} if has_temporary_server() else {}):
        yield


def begin_to_wait(flow_run_id: str) -> None:
    """Begin the wait of `wait_until_recorded` beside the caller. The flow run begins no task run any more."""
    thread = ThreadPoolExecutor(max_workers=1)
    _begun[flow_run_id] = thread.submit(_wait_until_recorded, flow_run_id)
    thread.shutdown(wait=False)


def wait_until_recorded(flow_run_id: str, timeout_s: float = 20.0) -> None:
    """Wait until Prefect's database has all task runs of the flow run as ended, or until the timeout.

    Prefect records task runs in the background; stopping its server at once would lose the last ones.
    """
    begun = _begun.pop(flow_run_id, None)
    # After a wait beside the caller one look is enough, if nothing has come since.
    newest, quiet = (begun.result(), _QUIET - 1) if begun else (None, 0)
    _wait_until_recorded(flow_run_id, timeout_s, newest, quiet)


def _wait_until_recorded(
    flow_run_id: str, timeout_s: float = 20.0, newest: str | None = None, quiet: int = 0
) -> str | None:
    """Wait until looks in a row find no task run unended or newly ended, and return the newest one's id."""
    deadline = time.monotonic() + timeout_s
    unended = _unended_tasks(flow_run_id)
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            is_unended = bool(client.read_task_runs(**unended, limit=1))
            ended = client.read_task_runs(
                flow_run_filter=unended["flow_run_filter"], sort=TaskRunSort.END_TIME_DESC, limit=1
            )
            before, newest = newest, str(ended[0].id) if ended else None
            quiet = 0 if is_unended else quiet + 1 if newest == before else 1
            if quiet >= _QUIET:
                break
            time.sleep(_STORED_S / (_QUIET - 1))
    return newest


def require_server() -> None:
    """Raise `InvalidConfig` unless Prefect's settings name a server.

    The orders of silos go through a server that their workers reach. One that this command starts for itself
    has none of their deployments.
    """
    if not get_current_settings().api.url:
        raise InvalidConfig(
            "runner.kind is 'silos', but PREFECT_API_URL does not name the Prefect server that the silos' "
            "workers use.",
            next_step="Set it, for example PREFECT_API_URL=http://coordinator:4200/api, and train again.",
            key="runner.kind",
        )


def cancel_tasks(task_run_ids: Iterable[UUID]) -> None:
    """Set task runs that missed their deadline to CANCELLED in Prefect's records."""
    cancelled: State = Cancelled(message="It missed its deadline, and the job ended without it.")
    with get_client(sync_client=True) as client:
        for task_run_id in task_run_ids:
            try:
                client.set_task_run_state(task_run_id, cancelled, force=True)
            except PrefectHTTPStatusError as error:
                # Prefect has never heard of a task whose process died at its start.
                if error.response.status_code != HTTPStatus.NOT_FOUND:
                    raise


def note_own_run(folder: Path, flow_run_id: str) -> None:
    """Write a note that the flow run belongs to this process, so that it can be ended after a crash."""
    write_note(folder / f"{flow_run_id}.json", psutil.Process())


def end_orphaned_runs(folder: Path) -> list[str]:
    """Set each noted flow run that ended with its process to CRASHED in Prefect's records; return which.

    Runs that had ended before their process did stay as they are.
    """
    ended = []
    for note in sorted(folder.glob("*.json")):
        if read_note(note) is None:
            if _mark_crashed(note.stem):
                ended.append(note.stem)
            note.unlink(missing_ok=True)
    return ended


def _mark_crashed(flow_run_id: str) -> bool:
    """Set the flow run and its task runs to CRASHED unless they have ended, and return whether it did.

    Their process is gone.
    """
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(flow_run_id))
        except ObjectNotFound:
            return False  # it was recorded by another Prefect server
        if run.state is None or run.state.is_final():
            return False
        # The last events of its tasks may not be stored yet, and would overwrite this state.
        time.sleep(_STORED_S)
        crashed: State = Crashed(message="Its process ended unexpectedly; a later run continued the job.")
        for task_run in client.read_task_runs(**_unended_tasks(flow_run_id)):
            client.set_task_run_state(task_run.id, crashed, force=True)
        client.set_flow_run_state(run.id, crashed, force=True)
    return True


def _unended_tasks(flow_run_id: str) -> dict[str, Any]:
    return {
        "flow_run_filter": FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)])),
        "task_run_filter": TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNENDED))
        ),
    }
