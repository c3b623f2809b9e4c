"""The process of Prefect's server: uvicorn, started as a module with uvicorn's own arguments."""

from __future__ import annotations

from tasks.local.collector import collect_seldom

if __name__ == "__main__":
    collect_seldom()
    from uvicorn.main import main

    main()
