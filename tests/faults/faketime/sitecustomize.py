"""Python's sleep in processes under libfaketime, which find this file by PYTHONPATH.

Since Python 3.11 `time.sleep` waits for an absolute time of the monotonic clock. libfaketime (0.9.10) changes
that time even where it leaves the clock alone, and the system refuses it (EINVAL). `select` waits correctly.
"""

import select
import time


def _sleep(seconds: float) -> None:
    select.select([], [], [], seconds)


time.sleep = _sleep
