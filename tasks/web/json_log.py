"""The log of a service: one JSON object per line on stderr. Of a client's request it contains no content."""

from __future__ import annotations

import sys
import time
from typing import Any, Literal

import orjson


def write(level: Literal["info", "error"], event: str, **facts: Any) -> None:
    """Write one line."""
    line = orjson.dumps({"at": round(time.time(), 3), "level": level, "event": event, **facts})
    sys.stderr.buffer.write(line + b"\n")
    sys.stderr.buffer.flush()
