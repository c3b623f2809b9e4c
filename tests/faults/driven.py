"""A coordinator in a process of its own that ends or pauses itself at a given point: see crash_driver.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

DRIVER = Path(__file__).with_name("crash_driver.py")


@contextmanager
def driver(config: Any, environ: Mapping[str, str] = MappingProxyType({})) -> Iterator[subprocess.Popen[str]]:
    """Start the driver and wait until it is ready for points. `environ` is added to its environment."""
    from prefect.settings import PREFECT_API_URL

    process = subprocess.Popen(
        [sys.executable, str(DRIVER), config.model_dump_json()],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PREFECT_API_URL": str(PREFECT_API_URL.value()), **environ},
    )
    assert process.stdin and process.stdout
    try:
        assert process.stdout.readline().strip() == "ready"
        yield process
    finally:
        process.stdin.close()
        process.wait(timeout=60)
        process.stdout.close()


def end_of(process: subprocess.Popen[str], point: dict[str, Any]) -> Any:
    """Send a point to the driver. Return how the process ended, or {"stopped": its id}."""
    assert process.stdin and process.stdout
    process.stdin.write(json.dumps(point) + "\n")
    process.stdin.flush()
    return json.loads(process.stdout.readline())
