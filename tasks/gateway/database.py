"""The database that the coordinator's flows and the processes of its gateway share."""

from __future__ import annotations

import os
from typing import Any

from sqlalchemy import Engine, MetaData, create_engine, event

from tasks.local.home import Home

VARIABLE = "FEDREC_ORDERS"
TABLES = MetaData()
# Seconds for which another process may hold SQLite's lock.
_BUSY_S = 60
# Threads of a process that may use SQLite at once. Further connections would be opened and closed each time.
_THREADS = 40


def open_database(home: Home, url: str | None = None, *, durable: bool = True) -> Engine:
    """Return the database of this home, with all tables.

    Args:
        home: of the coordinator.
        url: of a database, such as `postgresql+psycopg://host/name`; None for the one in the environment
            variable FEDREC_ORDERS, or else a SQLite file of the home.
        durable: what is written to SQLite also survives a power cut, at the cost of waiting for the disk.
    """
    folder = home.root / "gateway"
    folder.mkdir(parents=True, exist_ok=True)
    url = url or os.environ.get(VARIABLE) or f"sqlite+pysqlite:///{folder / 'gateway.db'}"
    engine = _engine(url, durable)
    TABLES.create_all(engine)
    return engine


def _engine(url: str, durable: bool) -> Engine:
    if not url.startswith("sqlite"):
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"timeout": _BUSY_S}, pool_size=_THREADS)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: Any) -> None:
        # With a write-ahead log, a reader does not wait for a writer.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")

    return engine
