"""Run a program again whenever it dies, as a service manager does. A life with a point kills itself there.

`python -m tests.faults.lives REPORT POINTS MODULE ARGUMENT...` runs `python -m MODULE ARGUMENT...` once for
each point of the JSON list POINTS; null is a life without one. Each is a point of
`tests.faults.crash_driver`. With "step": true it is in the process that does a silo's steps, and the agent
dies with it. How a life ended is a line of the file REPORT. The imports are made once and shared by fork,
because they take longer than a life.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults.crash_driver import kill_at
from tests.servers.gateway import python

_POINT = "FEDREC_TEST_POINT"
_IMPORTED = {
    "flows": ("flows.commands.silo.start", "flows.silo.settings", "flows.silo.agent"),
    "tasks.gateway": ("tasks.gateway.api.app", "uvicorn.protocols.http.httptools_impl"),
}


@dataclass(frozen=True)
class Lives:
    """A program that dies at each of some points.

    Attributes:
        report: the file that tells how each life ended.
        points: of the lives, in order.
        returns: whether it lives on after all of them.
    """

    report: Path
    points: Sequence[dict[str, Any]]
    returns: bool = True

    def of(self, module: str, *arguments: str) -> list[str]:
        """Return the command that runs this module."""
        points = json.dumps([*self.points, None] if self.returns else [*self.points])
        return python("tests.faults.lives", str(self.report), points, module, *arguments)

    @property
    def ends(self) -> list[int]:
        """Return how each life ended that is over: the negative number of a signal, or the exit code."""
        return [int(line) for line in self.report.read_text().split()] if self.report.exists() else []


def main() -> None:
    report, points, module, *arguments = sys.argv[1:]
    for name in _IMPORTED[module]:
        importlib.import_module(name)
    for point in json.loads(points):
        child = os.fork()
        if child == 0:
            if point and point.get("step"):
                os.environ[_POINT] = json.dumps(point)
            elif point:
                kill_at(point)
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__")
            sys.exit()
        _, status = os.waitpid(child, 0)
        with Path(report).open("a") as file:
            file.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
elif __name__ == "__mp_main__" and _POINT in os.environ:
    kill_at(json.loads(os.environ[_POINT]) | {"parent": True})
