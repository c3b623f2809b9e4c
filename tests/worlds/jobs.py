"""A job over a partition, as its clients receive it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from models.recommenders.lightfm.spec import LightFMSpec
from tasks.datasets.partition_reader import open_partition
from tasks.messages.orders import JobContext


def job_of(partition_dir: Path, folder: Path, **changes: Any) -> JobContext:
    """Return job "job-1" of 4 dims, with exchange and silos below `folder`; `changes` replace parts of it."""
    parts = {
        "job_id": "job-1",
        "seed": 7,
        "spec": LightFMSpec(dims=4),
        "exchange_url": (folder / "exchange").as_uri(),
        "data_dir": str(partition_dir),
        "data_digest": open_partition(partition_dir).digest,
        "silos_dir": str(folder / "silos"),
        "evaluation_seed": 5,
        "negatives": 20,
    }
    return JobContext(**(parts | changes))
