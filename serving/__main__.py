"""`python -m serving --host HOST --port PORT --workers N`, the command that `fedrec serve` runs.

It reads its settings from the environment, see `serving.settings`.
"""

from __future__ import annotations

import argparse
import os
import tempfile

from tasks.web.service import add_address, run


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m serving")
    add_address(parser)
    chosen = parser.parse_args()
    # The workers already share the cores, so more threads would only wait for each other.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with tempfile.TemporaryDirectory(prefix="fedrec-metrics-") as shared:
        if chosen.workers > 1:
            # prometheus_client reads it in each worker, when it is imported.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        run("serving.app:from_environment", chosen, timeout_keep_alive=30, timeout_graceful_shutdown=10)


if __name__ == "__main__":
    main()
