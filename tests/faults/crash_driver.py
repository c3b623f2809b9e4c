"""Run one job repeatedly, each time in a process of its own that kills itself at a given point.

Read crash points from stdin, one JSON object a line, and answer each with one line: how the process ended.
The imports are made once and shared by fork, because they take longer than the job.

A crash point is {"target": "module:name.name", "when": "before" or "after", "call": n}: SIGKILL around the
n-th call of that function, or `after_s` seconds after it. With "with": text only calls count whose arguments
contain the text. With "parent": true the process that started this one is killed too. With "signal":
"SIGSTOP" the process is paused there instead. With "settled": true the process first waits until its job's
messages are sent, so that what MLflow has does not depend on time. With "waiting": n the calling thread waits
before until n messages wait.
The answer is then {"stopped": its id}, and a later line {"wake": that id} continues it and is
answered with how it ended. With "error": path the error that ended the process is written to that file.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

from filelock import FileLock

if "FAKETIME" in os.environ:
    # libfaketime 0.9.10 shifts the deadlines that Python sleeps until, although its setting says to leave the
    # monotonic clock alone. Other ways of waiting are right.
    time.sleep = lambda seconds: threading.Event().wait(seconds) and None


def kill_at(point: dict[str, Any]) -> None:
    """Make this process kill or pause itself when it reaches `point`."""
    number = signal.Signals[point.get("signal", "SIGKILL")]
    module, _, path = point["target"].partition(":")
    *parents, name = path.split(".")
    owner: Any = importlib.import_module(module)
    for parent in parents:
        owner = getattr(owner, parent)
    function, calls = getattr(owner, name), itertools.count(1)

    @functools.wraps(function if callable(function) and not hasattr(function, "fn") else function.fn)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        counts = "with" not in point or point["with"] in f"{args}{kwargs}"
        is_it = counts and next(calls) == point["call"]
        if is_it and point["when"] == "before":
            prepare(point)
            die(number, point)
        result = function(*args, **kwargs)
        if is_it and point["when"] == "after":
            prepare(point)
            die(number, point)
        return result

    setattr(owner, name, wrapped)


def prepare(point: dict[str, Any]) -> None:
    """Wait as the point says."""
    from tasks.local.home import current_home

    jobs = current_home().jobs
    while len(list(jobs.glob("*/outbox/[0-9]*.json"))) < point.get("waiting", 0):
        time.sleep(0.01)
    if point.get("settled"):
        while any(jobs.glob("*/outbox/[0-9]*.json")):
            time.sleep(0.01)
        if "signal" in point:
            # A paused process is overtaken only if it is not within a write, so the sender has to leave it.
            for door in jobs.glob("*/.lock"):
                with FileLock(door):
                    pass


def die(number: signal.Signals, point: dict[str, Any]) -> None:
    """Send the signal to this process now, or after some seconds while it continues."""
    after_s = point.get("after_s", 0.0)
    if not after_s:
        if point.get("parent"):
            parent = multiprocessing.parent_process()
            assert parent and parent.pid
            os.kill(parent.pid, number)
        os.kill(os.getpid(), number)
        return
    timer = threading.Timer(after_s, os.kill, (os.getpid(), number))
    timer.daemon = True
    timer.start()


def main() -> None:
    from tasks.local.environment import apply

    apply()
    import great_expectations  # noqa: F401
    import mlflow.tracking  # noqa: F401

    from flows.settings.training_config import parse_config
    from flows.train import run_locally

    config = parse_config(json.loads(sys.argv[1]), "the driver")
    print("ready", flush=True)
    for line in sys.stdin:
        point = json.loads(line)
        child = point.get("wake") or os.fork()
        if child == 0:
            try:
                kill_at(point)
                run_locally(config)
            except BaseException as error:  # noqa: BLE001
                traceback.print_exc()
                if "error" in point:
                    Path(point["error"]).write_text(f"{type(error).__name__}: {error}")
                os._exit(1)
            os._exit(0)
        if "wake" in point:
            os.kill(child, signal.SIGCONT)
        _, status = os.waitpid(child, os.WUNTRACED)
        ended = {"stopped": child} if os.WIFSTOPPED(status) else os.waitstatus_to_exitcode(status)
        print(json.dumps(ended), flush=True)


if __name__ == "__main__":
    main()
