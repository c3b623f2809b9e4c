"""Runs an ASGI application until SIGINT or SIGTERM."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

import uvicorn


def add_address(parser: ArgumentParser) -> None:
    """Add the arguments that `run` reads."""
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)


def run(factory: str, chosen: Namespace, **further: Any) -> None:
    """Serve the application that the factory makes in each worker.

    Args:
        factory: such as "package.module:function".
        chosen: the arguments of `add_address`.
        further: of `uvicorn.run`.
    """
    uvicorn.run(
        factory,
        factory=True,
        host=chosen.host,
        port=chosen.port,
        workers=chosen.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        # Each application writes its own line for a request.
        access_log=False,
        log_level="warning",
        server_header=False,
        **further,
    )
