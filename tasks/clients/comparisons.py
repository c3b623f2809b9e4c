"""What a silo keeps for its owner: its comparison at the end of each job, whoever else may read it."""

from __future__ import annotations

import json
from pathlib import Path

from tasks.local.atomic import write_atomically
from tasks.messages.answers import ClientEvaluation, answer_as_json, evaluation_of_json

_NAME = "comparison.json"


def keep_comparison(silo: Path, job_id: str, round_: int, found: ClientEvaluation) -> None:
    """Keep the comparison of a job's last round in the silo's private folder."""
    body = {"round": round_, "client_id": found.client_id, "evaluation": answer_as_json(found)}
    folder = silo / "state" / job_id
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(folder / _NAME, json.dumps(body, sort_keys=True).encode())


def kept_comparisons(silo: Path) -> list[tuple[str, int, ClientEvaluation]]:
    """Return (job, round, comparison) of each job whose comparison is still there, the oldest first.

    Damaged files are left out.
    """
    found = []
    for path in sorted(silo.glob(f"state/*/{_NAME}"), key=lambda each: (each.stat().st_mtime_ns, each)):
        try:
            body = json.loads(path.read_bytes())
            evaluation = evaluation_of_json(str(body["client_id"]), body["evaluation"], 0.0)
            found.append((path.parent.name, int(body["round"]), evaluation))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return found
