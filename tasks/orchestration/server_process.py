"""The process of Prefect's server: uvicorn, started as a module with uvicorn's own arguments."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from tasks.local.collector import collect_seldom
from tasks.local.schemas import stored


@contextlib.contextmanager
def _without_needless_migrations() -> Iterator[None]:
    """Create a missing database from its stored schema, and run no migrations of one that needs none.

    All of Prefect's migrations take 4 seconds of processor time.
    """
    from prefect.settings import (
        PREFECT_API_DATABASE_CONNECTION_URL,
        PREFECT_API_DATABASE_MIGRATE_ON_START,
        temporary_settings,
    )
    from sqlalchemy.engine import make_url

    url = make_url(PREFECT_API_DATABASE_CONNECTION_URL.value())
    path = Path(url.database or "")
    # Otherwise it is a server's, in memory, or an address with options.
    if url.get_backend_name() != "sqlite" or not path.is_absolute() or not path.parent.is_dir():
        yield
        return
    if not path.exists():
        stored.create("prefect", path)
    needless = {PREFECT_API_DATABASE_MIGRATE_ON_START: False} if stored.is_current("prefect", path) else {}
    with temporary_settings(needless):
        yield


if __name__ == "__main__":
    collect_seldom()
    import uvicorn.server
    from uvicorn.main import main

    # A Ctrl-C in the terminal reaches this process too. The command that started it needs it until it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvicorn.server.HANDLED_SIGNALS = (signal.SIGTERM,)  # type: ignore[assignment]
    with _without_needless_migrations():
        main()
