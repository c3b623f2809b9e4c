"""`python -m tasks.gateway`, which `fedrec gateway` becomes. Its settings are in the environment."""

from __future__ import annotations

import argparse

from prometheus_client import start_http_server

from tasks.gateway.settings import GatewaySettings
from tasks.web.service import add_address, run

# A request may wait for an order this long beyond its own time.
_GRACE_S = 5


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tasks.gateway")
    add_address(parser)
    parser.add_argument("--certificate")
    parser.add_argument("--private-key")
    chosen = parser.parse_args()
    settings = GatewaySettings.of_environment()
    if settings.metrics_port and chosen.workers == 1:
        start_http_server(settings.metrics_port, "127.0.0.1")
    run(
        "tasks.gateway.api.app:from_environment",
        chosen,
        ssl_certfile=chosen.certificate,
        ssl_keyfile=chosen.private_key,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=_GRACE_S,
    )


if __name__ == "__main__":
    main()
