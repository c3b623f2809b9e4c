"""Logs: one JSON object a line on stderr, without anything that a client sent but the method."""

from __future__ import annotations

import sys
import time
from typing import Any

import orjson


def write(level: str, event: str, **facts: Any) -> None:
    """One line."""
    line = orjson.dumps({"at": round(time.time(), 3), "level": level, "event": event, **facts})
    sys.stderr.buffer.write(line + b"\n")
    sys.stderr.buffer.flush()
