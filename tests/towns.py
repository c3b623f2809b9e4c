"""Partitions of small worlds into the towns of their users."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.datasets.client_assignment import ByColumn
from tasks.datasets.partition import make_partition

# File -> its rows and columns: "interactions", "items", and "users" with a column "town".
Tables = Mapping[str, tuple[Sequence[Any], list[str]]]


def partition_by_town(folder: Path, tables: Tables) -> Path:
    """Write the tables below this folder, and return a partition of them with a client for each town."""
    paths = {name: folder / f"{name}.csv" for name in tables}
    for name, (rows, columns) in tables.items():
        pd.DataFrame(rows, columns=columns).to_csv(paths[name], index=False)
    out = folder / "partition"
    make_partition(paths["interactions"], out, ByColumn("town"), items=paths["items"], users=paths["users"])
    return out
