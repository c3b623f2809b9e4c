"""The counts of serving processes, in one small file each, and their sum for the publisher.

They contain only numbers: how often a version answered, how often one of its items was chosen, and how its
answers differ from the challenger's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from models.promotion.live import Comparison, Hits
from tasks.bundles.pointer import Target
from tasks.local.atomic import write_atomically

# Seconds after which the file of a process is ignored: it ended with a version that is no longer compared.
_FORGOTTEN_S = 30 * 24 * 3600.0


@dataclass
class Tallies:
    """The counts of one process, or of all.

    Attributes:
        hits: `serving_key` of a version -> its hits.
        comparisons: `comparison_key` of a pair -> how the challenger's answers differ from the champion's.
    """

    hits: dict[str, Hits] = field(default_factory=dict)
    comparisons: dict[str, Comparison] = field(default_factory=dict)

    def count(self, key: str, hits: Hits) -> None:
        """Add these answers or hits."""
        self.hits[key] = self.hits.get(key, Hits()) + hits

    def compare(self, key: str, comparison: Comparison) -> None:
        """Add this comparison."""
        self.comparisons[key] = self.comparisons.get(key, Comparison()) + comparison


def serving_key(target: Target) -> str:
    """Return the key of a version and its promotion. A version that is promoted again starts at zero."""
    return f"{target.bundle}:{str(target.decision.get('ledger_entry', ''))[:16]}"


def comparison_key(champion: Target, challenger: Target) -> str:
    """Return the key of a pair of versions."""
    return f"{champion.bundle} {challenger.bundle}"


def tallies_folder(folder: Path) -> Path:
    """Return the folder of tallies, beside the pointer."""
    return folder / "tallies"


def write_tallies(folder: Path, process: str, tallies: Tallies) -> None:
    """Write the counts of this process to its file."""
    value = {
        "hits": {key: asdict(each) for key, each in tallies.hits.items()},
        "comparisons": {key: asdict(each) for key, each in tallies.comparisons.items()},
    }
    write_atomically(tallies_folder(folder) / f"{process}.json", json.dumps(value).encode(), durable=False)


def read_tallies(folder: Path) -> Tallies:
    """Return the sum over all processes. A file that is not a tally is ignored."""
    found = Tallies()
    for path in sorted(tallies_folder(folder).glob("*.json")):
        if path.stat().st_mtime < time.time() - _FORGOTTEN_S:
            path.unlink(missing_ok=True)
            continue
        try:
            value: Mapping[str, Any] = json.loads(path.read_bytes())
            hits = {key: Hits(**each) for key, each in value["hits"].items()}
            comparisons = {key: Comparison(**each) for key, each in value["comparisons"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue
        for key, each in hits.items():
            found.count(key, each)
        for key, one in comparisons.items():
            found.compare(key, one)
    return found
