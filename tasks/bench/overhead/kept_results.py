"""Results of an interrupted benchmark, which the same command continues."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.local.atomic import write_atomically


@dataclass
class KeptResults:
    """Results by name, in one file.

    Attributes:
        path: the file.
        key: what was measured, as JSON values. Results of another key are not used.
        found: name -> result.
    """

    path: Path
    key: Mapping[str, Any]
    found: dict[str, Any]

    @classmethod
    def of(cls, path: Path, key: Mapping[str, Any]) -> KeptResults:
        """Return the results in this file, or none if it is missing, damaged, or of another key."""
        try:
            kept = json.loads(path.read_bytes())
            found = dict(kept["found"]) if kept["key"] == json.loads(json.dumps(key)) else {}
        except (OSError, ValueError, KeyError, TypeError):
            found = {}
        return cls(path, key, found)

    def keep(self, name: str, result: Any) -> None:
        """Add a result to the file."""
        self.found[name] = result
        text = json.dumps({"key": self.key, "found": self.found}, allow_nan=False)
        write_atomically(self.path, text.encode())

    def forget(self) -> None:
        """Remove the file, because the benchmark is complete."""
        self.path.unlink(missing_ok=True)
