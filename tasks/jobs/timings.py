"""The breakdown of a job's wall time by activity."""

from __future__ import annotations

import time

import psutil

from tasks.jobs.stopwatch import Stopwatch
from tasks.messages.job_result import Timings

_ACTIVITIES = (
    "train",
    "transfer",
    "polling",
    "merge",
    "contracts",
    "tracking",
    "evaluate",
    "baselines",
    "report",
)


def timings_of(clock: Stopwatch, training_cpu_s: float, tracking_beside_s: float = 0.0) -> Timings:
    """Return the wall seconds by activity, which add up to `total_s`.

    Start-up counts from the start of the process: it includes the imports, the servers' start and opening the
    job. Training is the wall time in which at least one client trained. Transfer and polling occur only with
    silos on their own machines: moving models and updates, and waiting until orders and answers are noticed.
    Orchestration is the rest: Prefect, the journal, waiting.

    Args:
        clock: activities measured in this process.
        training_cpu_s: CPU seconds of the clients' training, the time of a bare loop of the same calls.
        tracking_beside_s: seconds in which rounds were sent to MLflow beside all this.
    """
    total = time.time() - psutil.Process().create_time()
    named = {f"{activity}_s": clock.seconds.get(activity, 0.0) for activity in _ACTIVITIES}
    # From the start of the process to the end of opening the job.
    startup = total - clock.elapsed + clock.seconds.get("startup", 0.0)
    orchestration = max(0.0, total - startup - sum(named.values()))
    ratio = (total - startup - named["baselines_s"]) / training_cpu_s if training_cpu_s else None
    seconds = {"total_s": total, "startup_s": startup, **named, "orchestration_s": orchestration}
    return Timings(
        **{name: round(value, 3) for name, value in seconds.items()},
        tracking_beside_s=round(tracking_beside_s, 3),
        training_cpu_s=round(training_cpu_s, 3),
        overhead_ratio=None if ratio is None else round(ratio, 2),
    )
