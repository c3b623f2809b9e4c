"""The configuration of a job that takes seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from flows.settings.training_config import TrainingConfig, parse_config


def small_job(partition: Path, **sections: Any) -> TrainingConfig:
    """Return one round of LightFM in 4 dims on a partition; `sections` override its defaults key by key."""
    raw: dict[str, Any] = {
        "name": "small",
        "model_name": "small-model",
        "data": {"dir": str(partition)},
        "train": {"dims": 4},
        "federation": {"rounds": 1},
        "evaluation": {"negatives": 9, "silo_only": False},
    }
    for name, section in sections.items():
        raw[name] = {**raw.get(name, {}), **section} if isinstance(section, dict) else section
    return parse_config(raw, "the test")
