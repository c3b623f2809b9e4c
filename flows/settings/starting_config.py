"""The first configuration for a partition: what the job needs, and what its data ask for."""

from __future__ import annotations

import json
import re
import unicodedata
from pathlib import Path

from tasks.datasets.data_notes import wanted_limits
from tasks.datasets.partition_reader import Partition


def starting_config(partition: Partition, name: str | None = None) -> str:
    """Return the YAML of a configuration that trains on this partition and pools nothing.

    Args:
        partition: the data.
        name: the name of job and model; the folder's by default.
    """
    named = name_for(partition.root) if name is None else name
    # JSON is YAML, and quotes any path.
    lines = [
        "# The keys that are left out have defaults; configs/ml-100k.yaml of fedrec explains all of them.",
        f"name: {json.dumps(named)}",
        f"model_name: {json.dumps(named)}",
        "data:",
        f"  dir: {json.dumps(str(partition.root), ensure_ascii=False)}",
        "evaluation:",
        "  # true also trains on the data of all clients together, to compare: only if that is permitted.",
        "  pooling_allowed: false",
    ]
    if limits := wanted_limits(partition.report) if partition.report else {}:
        lines += [
            "contracts:",
            "  interactions:  # these data need other limits than the defaults",
        ]
        lines += [f"    {key}: {json.dumps(value)}" for key, value in limits.items()]
    return "\n".join([*lines, ""])


def name_for(folder: Path) -> str:
    """Return a job's name that is like the folder's: lower-case letters, digits and hyphens, at most 64."""
    plain = unicodedata.normalize("NFKD", folder.name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:64].rstrip("-") or "job"
