"""The process of Prefect's server: uvicorn, started as a module with uvicorn's own arguments."""

from __future__ import annotations

import signal

from tasks.local.collector import collect_seldom

if __name__ == "__main__":
    collect_seldom()
    import uvicorn.server
    from uvicorn.main import main

    # A Ctrl-C in the terminal reaches this process too. The command that started it needs it until it ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    uvicorn.server.HANDLED_SIGNALS = (signal.SIGTERM,)  # type: ignore[assignment]
    main()
