"""`python -m serving --host HOST --port PORT --workers N`, the command that `fedrec serve` runs.

It reads its settings from the environment, see `serving.settings`.
"""

from __future__ import annotations

import argparse
import os
import tempfile

import uvicorn


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m serving")
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    chosen = parser.parse_args()
    # The workers already share the cores, so more threads would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="fedrec-metrics-") as shared:
        if chosen.workers > 1:
            # prometheus_client reads it in each worker, when it is imported.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        uvicorn.run(
            "serving.app:from_environment",
            factory=True,
            host=chosen.host,
            port=chosen.port,
            workers=chosen.workers,
            loop="uvloop",
            http="httptools",
            ws="none",
            access_log=False,
            log_level="warning",
            server_header=False,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=10,
        )


if __name__ == "__main__":
    main()
