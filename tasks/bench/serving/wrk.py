"""Runs the load generator wrk, an external client, so that no Python client slows down the measurement."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import FedrecError, NotFound

# Each request has the next body; each thread begins with the first one.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
local bodies = {}
for line in io.lines("BODIES") do bodies[#bodies + 1] = line end
local next_one = 0
request = function()
  next_one = next_one % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[next_one])
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\\nRESULT {"requests": %d, "seconds": %f, "failed": %d, "p50_us": %f, "p99_us": %f, "max_us": %f}\\n',
    summary.requests, summary.duration / 1e6,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
"""


@dataclass(frozen=True)
class Load:
    """The result of a load.

    Attributes:
        connections: number of simultaneous connections, each sending without a pause.
        requests: number of requests that were answered.
        failed: number of requests with an error or no answer.
        per_second: answers per second.
        p50_ms, p99_ms, max_ms: latencies, from sending a request to receiving its answer.
    """

    connections: int
    requests: int
    failed: int
    per_second: float
    p50_ms: float
    p99_ms: float
    max_ms: float


def require_wrk() -> None:
    """Raise `NotFound` unless wrk is installed."""
    if shutil.which("wrk") is None:
        raise NotFound(
            "The load generator wrk is missing.",
            next_step="Install it, on Debian or Ubuntu with: apt-get install wrk",
        )


def put_under_load(url: str, bodies: Sequence[bytes], connections: int, seconds: float) -> Load:
    """Send these bodies repeatedly to the service at `url`, and return the result.

    Args:
        url: of the service.
        bodies: of the requests.
        connections: number of simultaneous connections.
        seconds: length of the load; at least 1.

    Raises:
        NotFound: wrk is not installed.
        FedrecError: wrk failed.
    """
    require_wrk()
    with tempfile.TemporaryDirectory() as folder:
        lines, script = Path(folder) / "bodies", Path(folder) / "load.lua"
        lines.write_bytes(b"\n".join(bodies))
        script.write_text(_SCRIPT.replace("BODIES", str(lines)))
        command = ["wrk", "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
        done = subprocess.run(  # noqa: S603
            [*command, "-s", str(script), url], capture_output=True, text=True, check=False
        )
    found = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    if done.returncode or not found:
        raise FedrecError(f"wrk failed: {done.stderr or done.stdout}")
    result: dict[str, Any] = json.loads(found[0].removeprefix("RESULT "))
    return Load(
        connections=connections,
        requests=result["requests"],
        failed=result["failed"],
        per_second=round(result["requests"] / result["seconds"], 1),
        p50_ms=round(result["p50_us"] / 1000, 3),
        p99_ms=round(result["p99_us"] / 1000, 3),
        max_ms=round(result["max_us"] / 1000, 3),
    )
