"""Another process holds the databases of MLflow and Prefect locked for a minute."""

from __future__ import annotations

import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from flows.terminal.progress import Event, listening
from tasks.tracking.outbox_sender import send_what_waits

LOCKED_S = 60


def hold(database: Path, locked: threading.Event) -> None:
    connection = sqlite3.connect(database, isolation_level=None, timeout=30)
    connection.execute("BEGIN EXCLUSIVE")
    locked.set()
    time.sleep(LOCKED_S)
    connection.execute("ROLLBACK")
    connection.close()


def test_a_job_survives_a_minute_of_locked_databases(federation: Any, restartable_prefect: Any) -> None:
    config = federation.config(federation={"rounds": 4})
    holders: list[threading.Thread] = []

    said: list[str] = []

    def between(event: Event) -> None:
        said.append(event.text)
        if event.round == 1:
            for database in (federation.home.mlflow / "mlflow.db", restartable_prefect.database):
                locked = threading.Event()
                holders.append(threading.Thread(target=hold, args=(database, locked)))
                holders[-1].start()
                assert locked.wait(60)

    with listening(between):
        result = federation.run(config)
    for each in holders:
        each.join(2 * LOCKED_S)
    assert any(text.startswith("MLflow is unavailable") and "database is locked" in text for text in said), (
        said
    )
    # If the job ended within the minute, the next command sends MLflow the rest.
    send_what_waits(federation.home)
    tracked = federation.journal(result).result().to_json()
    assert tracked["model_sha256"] == result["model_sha256"]
    federation.check(config, tracked, lost={})
