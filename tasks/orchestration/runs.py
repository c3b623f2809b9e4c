"""Prefect's records of our runs: complete before its server stops, and true after a crash.

Without `PREFECT_API_URL` Prefect starts a server of its own for the time of one command, as a child process.
A killed command leaves that server behind, and its flow run RUNNING; the next command ends both.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterable
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
from prefect.exceptions import ObjectNotFound
from prefect.states import Cancelled, Crashed

from tasks.local.atomic import write_atomically

_SERVER = "prefect.server.api.server:create_app"
# The server writes task runs down once a second (`tasks.local.environment`).
_WRITTEN_DOWN_S = 1.2
_UNENDED = [StateType.PENDING, StateType.RUNNING, StateType.SCHEDULED]


def wait_until_recorded(flow_run_id: str, timeout_s: float = 20.0) -> None:
    """All task runs of the flow run stand in Prefect's database as ended, or the time is over.

    Prefect records task runs behind the flow's back; stopping its server at once would lose the last ones.
    """
    give_up = time.monotonic() + timeout_s
    quiet = 0
    with get_client(sync_client=True) as client:
        # Twice in a row, because an event may still wait to be written down.
        while quiet < 2 and time.monotonic() < give_up:  # noqa: PLR2004
            found = client.read_task_runs(**_unended_tasks(flow_run_id), limit=1)
            quiet = 0 if found else quiet + 1
            time.sleep(_WRITTEN_DOWN_S / 2)


def give_up_tasks(task_run_ids: Iterable[UUID]) -> None:
    """Task runs that never answered, and are not waited for, are CANCELLED in Prefect's records."""
    left: State = Cancelled(message="It missed its deadline and was left behind.")
    with get_client(sync_client=True) as client:
        for task_run_id in task_run_ids:
            with contextlib.suppress(ObjectNotFound):
                client.set_task_run_state(task_run_id, left, force=True)


def note_own_run(folder: Path, flow_run_id: str) -> None:
    """The flow run is written down as this process's, to be ended after a crash."""
    _note(folder / f"{flow_run_id}.json", psutil.Process())


def end_orphaned_runs(folder: Path) -> None:
    """No flow run that was written down is running any more in Prefect's records once its process is gone."""
    for note in folder.glob("*.json"):
        if _noted(note) is None:
            _mark_crashed(note.stem)
            note.unlink(missing_ok=True)


def note_own_server(folder: Path) -> None:
    """The server that Prefect started for this process is written down, to be ended after a crash."""
    for child in psutil.Process().children():
        if _is_server(child):
            _note(folder / f"{child.pid}.json", child)


def end_orphaned_servers(folder: Path) -> None:
    """No server runs any more whose command was killed; only processes that we wrote down are touched."""
    for note in folder.glob("[0-9]*.json"):
        server = _noted(note)
        if server is not None and _is_server(server):
            parent = server.parent()
            if parent is not None and parent.pid != 1:
                continue  # its command is alive
            server.terminate()
        note.unlink(missing_ok=True)


def _mark_crashed(flow_run_id: str) -> None:
    """The flow run and its tasks are CRASHED where Prefect still has them running; their process is gone."""
    with get_client(sync_client=True) as client:
        try:
            run = client.read_flow_run(UUID(flow_run_id))
        except ObjectNotFound:
            return  # another Prefect server than now
        if run.state is None or run.state.is_final():
            return
        # What its tasks did last may not be written down yet, and would come after what is said here.
        time.sleep(_WRITTEN_DOWN_S)
        crashed: State = Crashed(message="Its process ended without a word; a later run continued the job.")
        for task_run in client.read_task_runs(**_unended_tasks(flow_run_id)):
            client.set_task_run_state(task_run.id, crashed, force=True)
        client.set_flow_run_state(run.id, crashed, force=True)


def _note(path: Path, process: psutil.Process) -> None:
    owner = {"pid": process.pid, "created": process.create_time()}
    write_atomically(path, json.dumps(owner).encode(), durable=False)


def _noted(note: Path) -> psutil.Process | None:
    """The process that was written down, if it is still alive."""
    written = json.loads(note.read_bytes())
    try:
        process = psutil.Process(written["pid"])
        # A process id alone may have been given to somebody else since.
        return process if process.create_time() == written["created"] else None
    except psutil.NoSuchProcess:
        return None


def _unended_tasks(flow_run_id: str) -> dict[str, Any]:
    return {
        "flow_run_filter": FlowRunFilter(id=FlowRunFilterId(any_=[UUID(flow_run_id)])),
        "task_run_filter": TaskRunFilter(
            state=TaskRunFilterState(type=TaskRunFilterStateType(any_=_UNENDED))
        ),
    }


def _is_server(process: psutil.Process) -> bool:
    try:
        return _SERVER in process.cmdline()
    except psutil.Error:
        return False
