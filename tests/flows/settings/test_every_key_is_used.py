"""Every key of a training configuration is used by a job, outside of its own validation.

The keys are found from the types, so a new key that nothing uses fails here without being named. What a
family does with its own settings is held by
tests/models/recommenders/families/test_settings_have_effect.py.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

from data_contracts.embeddings import EmbeddingLimits, embedding_rules
from data_contracts.interactions import InteractionLimits, interaction_rules
from data_contracts.updates import UpdateLimits, update_rules
from flows.settings.settings_file import Section
from flows.settings.training_config import ContractsSection, TrainingConfig, parse_config
from tasks.coordinator.trust_store import TrustStore
from tasks.local.home import Home
from tasks.silos.keys import make_key


def keys_of(kind: type[BaseModel], prefix: str = "") -> dict[str, tuple[type[BaseModel], str]]:
    """Return dotted key -> the section and the name that it is there."""
    found: dict[str, tuple[type[BaseModel], str]] = {}
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            found |= keys_of(inner, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = (kind, name)
    return found


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> Iterator[set[tuple[type, str]]]:
    """Record which keys of sections are read by code outside of the settings' own modules."""
    found: set[tuple[type, str]] = set()

    def recording(self: Section, name: str) -> Any:
        reader = str(sys._getframe(1).f_globals.get("__name__", ""))
        if reader.startswith(("flows.", "tasks.")) and not reader.startswith("flows.settings."):
            found.add((type(self), name))
        return object.__getattribute__(self, name)

    monkeypatch.setattr(Section, "__getattribute__", recording)
    yield found


def test_a_job_reads_every_key(
    mlflow_home: Home,
    prefect_server: None,
    partition_dir: Path,
    tmp_path: Path,
    read: set[tuple[type, str]],
) -> None:
    from flows.jobs.job import opened
    from flows.train import run_locally

    named = {"name": "small", "model_name": "small", "federation": {"rounds": 1}}
    here = {**named, "data": {"dir": str(partition_dir)}, "train": {"dims": 4}}
    run_locally(parse_config(here, "the test"))
    items = tmp_path / "items.csv"
    pd.DataFrame({"item_id": ["a", "b"], "title": ["A", "B"]}).to_csv(items, index=False)
    for silo in ("ash", "birch"):
        TrustStore(mlflow_home).trust(silo, make_key(Home(tmp_path / silo)).public)
    elsewhere = {
        **named,
        "name": "remote",
        "data": {"items": str(items)},
        "runner": {"kind": "silos", "silos": ["ash", "birch"]},
    }
    clustered = {**here, "name": "clustered", "runner": {"kind": "dask", "processes": 2}}
    behind = {**elsewhere, "name": "behind", "runner": {"kind": "gateway", "silos": ["ash", "birch"]}}
    private = {
        **here,
        "name": "private",
        "train": {"family": "dp_items"},
        "federation": {"rounds": 2},
        "privacy": {"unit": "user", "epsilon": 1.0, "budget": 1.0},
    }
    for each in (elsewhere, clustered, behind, private):
        with opened(parse_config(each, "the test")):
            pass

    keys = keys_of(TrainingConfig)
    assert len(keys) > 25
    assert [key for key, place in keys.items() if place not in read] == []


@pytest.mark.parametrize("name", sorted(ContractsSection.model_fields))
def test_every_limit_changes_its_contract(name: str) -> None:
    kind, rules_of = {
        "interactions": (
            InteractionLimits,
            lambda limits: interaction_rules(limits, ["user_id", "item_id", "rating", "timestamp"]),
        ),
        "updates": (UpdateLimits, lambda limits: update_rules(0, "base", "catalogue", limits)),
        "embeddings": (EmbeddingLimits, lambda limits: embedding_rules(3, 2, "catalogue", limits)),
    }[name]
    plain: Any = kind()
    assert ContractsSection.model_fields[name].annotation is kind
    for field in fields(plain):
        value = getattr(plain, field.name)
        changed = replace(
            plain, **{field.name: value / 2 if isinstance(value, float) and value else value + 1}
        )
        assert repr(rules_of(changed)) != repr(rules_of(plain)), field.name
