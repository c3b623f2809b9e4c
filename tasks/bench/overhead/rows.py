"""The rows of the overhead table: bare loop and job of each case, in the same run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from models.errors import FedrecError
from models.recommenders.lightfm.spec import LightFMSpec
from tasks.bench.overhead.bare_loop import BareRun, bare_loop
from tasks.bench.overhead.cases import DIMS, Case, Tables, tables_of
from tasks.bench.overhead.train_command import SEED, Checkout, JobRun, run_train
from tasks.datasets.partition import make_partition

Row = dict[str, Any]
# Activities that a job's own clock measures, of which each is a part of its time after the start-up.
_ACTIVITIES = ("train", "merge", "contracts", "evaluate", "tracking", "report")


@dataclass(frozen=True)
class CaseMeasurement:
    """How cases are measured.

    Attributes:
        movielens: the folder of MovieLens-100K's files.
        scratch: an existing folder for the data and homes, which are removed afterwards.
        own: this checkout.
        previous: the checkout that it is compared with, if any.
        timeout_s: a longer `fedrec train` is ended.
        announce: is called with a line of text before each step.
    """

    movielens: Path
    scratch: Path
    own: Checkout
    previous: Checkout | None
    timeout_s: float
    announce: Callable[[str], None]

    def measure(self, case: Case) -> dict[str, Row]:
        """Return the case's row, and its row of the previous revision under "previous" if there is one.

        Raises:
            FedrecError: the data are missing. A row whose job failed, or made another model than the bare
                loop, has the reason as "failed" instead of figures.
        """
        with tempfile.TemporaryDirectory(dir=self.scratch, prefix="overhead-") as name:
            folder = Path(name)
            tables = tables_of(case, self.movielens, folder / "tables")
            partition = make_partition(
                tables.interactions, folder / "partition", case.split, items=tables.items, users=tables.users
            )
            facts = {
                "case": case.name,
                "clients": len(partition.clients),
                "rounds": case.rounds,
                "items": len(partition.catalog),
                "load": round(os.getloadavg()[0], 2),
            }
            self.announce(f"{case.name}: bare loop")
            bare = bare_loop(partition, LightFMSpec(dims=DIMS), case.rounds, SEED)
            found = {"row": facts | self._figures(case, self.own, tables, folder / "own", bare)}
            if self.previous:
                then = self._figures(case, self.previous, tables, folder / "previous", bare)
                found["previous"] = facts | {"revision": self.previous.name} | then
            return found

    def _figures(self, case: Case, code: Checkout, tables: Tables, folder: Path, bare: BareRun) -> Row:
        self.announce(f"{case.name}: fedrec train of {code.name}")
        try:
            job = run_train(code, case, tables, folder, self.timeout_s)
            # Another revision may make another model.
            if code is self.own:
                require_same_model(bare, job)
            return row_of(bare, job)
        except FedrecError as error:
            self.announce(f"{case.name}: {error}")
            return {"failed": str(error)}


def require_same_model(bare: BareRun, job: JobRun) -> None:
    """Raise `FedrecError` unless both made the same model."""
    if job.model_sha256 != bare.model_sha256:
        raise FedrecError(
            f"The job's model {job.model_sha256[:12]} differs from the bare loop's {bare.model_sha256[:12]}, "
            "so their times cannot be compared."
        )


def row_of(bare: BareRun, job: JobRun) -> Row:
    """Return a row's figures: seconds, their ratio, and megabytes.

    A round lasts from one commit to the next, so it includes its share of whatever the job does beside the
    rounds. The median leaves out the first round of a cold process.
    """
    bare_s = sum(bare.rounds_s)
    startup_s = job.commits_s[0]
    after_s = job.job_s - startup_s
    round_s = median(
        after - before for before, after in zip(job.commits_s[1:], job.commits_s[2:], strict=False)
    )
    bare_round_s = median(bare.rounds_s)
    return {
        "bare_s": round(bare_s, 3),
        "job_s": round(job.job_s, 3),
        "startup_s": round(startup_s, 3),
        "after_startup_s": round(after_s, 3),
        "ratio": round(after_s / bare_s, 2),
        "round_s": round(round_s, 4),
        "bare_round_s": round(bare_round_s, 4),
        "round_overhead_s": round(round_s - bare_round_s, 4),
        "bare_cpu_s": round(bare.cpu_s, 2),
        "job_cpu_s": round(job.cpu_s, 2),
        "peak_rss_mb": round(job.peak_rss_mb, 1),
        "model_sha256": job.model_sha256,
        "parts_s": parts_of(job),
    }


def parts_of(job: JobRun) -> Mapping[str, float]:
    """Return the job's wall seconds by activity. They add up to the seconds of the command.

    The rest is Prefect, the opening of the MLflow run, the journal, and the end of the process.
    """
    parts = {"startup": job.commits_s[0]}
    parts |= {name: job.timings.get(f"{name}_s", 0.0) for name in _ACTIVITIES}
    parts["rest"] = max(0.0, job.job_s - sum(parts.values()))
    return {name: round(seconds, 3) for name, seconds in parts.items()}
