"""A TCP port of 127.0.0.1 on which nothing listens."""

from __future__ import annotations

import socket


def free_port() -> int:
    """Return a port that was free a moment ago. The caller takes it at once."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port
