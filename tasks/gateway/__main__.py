"""`python -m tasks.gateway`, which `fedrec gateway` becomes. Its settings are in the environment."""

from __future__ import annotations

import argparse

import uvicorn
from prometheus_client import start_http_server

from tasks.gateway.settings import GatewaySettings

# A request may wait for an order this long beyond its own time.
_GRACE_S = 5


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tasks.gateway")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    parser.add_argument("--certificate")
    parser.add_argument("--private-key")
    chosen = parser.parse_args()
    settings = GatewaySettings.of_environment()
    if settings.metrics_port and chosen.workers == 1:
        start_http_server(settings.metrics_port, "127.0.0.1")
    uvicorn.run(
        "tasks.gateway.api.app:from_environment",
        factory=True,
        host=chosen.host,
        port=chosen.port,
        workers=chosen.workers,
        loop="uvloop",
        http="httptools",
        ws="none",
        ssl_certfile=chosen.certificate,
        ssl_keyfile=chosen.private_key,
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
    )


if __name__ == "__main__":
    main()
