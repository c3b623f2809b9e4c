"""A real Prefect server for tests that can be stopped and started again, on a free port of 127.0.0.1.

A pytest plugin: `restartable_prefect` is one running server for one test, with its own SQLite database.
`prefect_on_postgres` is the same with PostgreSQL. Within the test Prefect's settings name it.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.postgres import PostgresServer
from tests.servers.server_process import ServerProcess, without


@dataclass
class PrefectServer(ServerProcess):
    """Prefect's server.

    Attributes:
        database_url: SQLAlchemy URL of an empty database. The default is a SQLite file in the folder.
    """

    database_url: str = ""

    health = "/api/health"

    @property
    def api_url(self) -> str:
        return f"{self.url}/api"

    @property
    def database(self) -> Path:
        return self.folder / "prefect.db"

    @property
    def command(self) -> list[str]:
        start = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1"]
        return [*start, "--port", str(self.port), "--no-ui"]

    @property
    def environment(self) -> dict[str, str]:
        return without("PREFECT_API_URL") | {
            "PREFECT_HOME": str(self.folder),
            "PREFECT_API_DATABASE_CONNECTION_URL": self.database_url
            or f"sqlite+aiosqlite:///{self.database}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }


@contextlib.contextmanager
def in_use(server: PrefectServer) -> Iterator[PrefectServer]:
    """Run the server and make Prefect's settings name it."""
    from prefect.events.worker import EventsWorker
    from prefect.settings import PREFECT_API_URL, temporary_settings

    server.folder.mkdir(parents=True, exist_ok=True)
    server.start()
    try:
        with temporary_settings({PREFECT_API_URL: server.api_url}):
            yield server
        # Send this process's remaining events. At the session's end they would wait for this server forever.
        EventsWorker.drain_all(timeout=60)
    finally:
        server.stop(signal.SIGKILL)


@pytest.fixture
def restartable_prefect(tmp_path: Path, prefect_server: None) -> Iterator[PrefectServer]:
    """Return a running server that Prefect's settings name in place of the session's."""
    with in_use(PrefectServer(tmp_path / "prefect-server")) as server:
        yield server


@pytest.fixture
def prefect_on_postgres(
    tmp_path: Path, prefect_server: None, postgres_server: PostgresServer
) -> Iterator[PrefectServer]:
    """Return the same with PostgreSQL, as silos use it. On SQLite a worker may wait a minute for another."""
    database = postgres_server.create_database()
    server = PrefectServer(
        tmp_path / "prefect-server", database_url=postgres_server.url(database, driver="asyncpg")
    )
    try:
        with in_use(server):
            yield server
    finally:
        postgres_server.drop_database(database)
