"""The flow of a silo: only its owner learns what goes wrong there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from models.errors import SiloFailed

ASKED = {
    "step": "train",
    "order": {
        "job": {
            "job_id": "job-1",
            "seed": 7,
            "spec": {"dims": 4, "family": "lightfm"},
            "exchange_url": "file:///nowhere",
            "data_dir": "/nowhere",
            "data_digest": "",
            "silos_dir": "/nowhere",
            "evaluation_seed": 5,
            "negatives": 20,
            "users_share": 1.0,
            "cohort": 3,
            "postprocessors": [],
            "earlier_jobs": [],
            "earlier_records": [],
            "ranges": {},
            "secure_sum": False,
            "max_weight": 1,
            "update_limits": {"max_norm": 1.0, "min_interactions": 1},
            "noise": None,
            "delta": None,
        },
        "client_id": "ash",
        "round": 1,
        "base": {"path": "job-1/models/m", "sha256": "b" * 64, "size": 5},
        "start": {"job_id": None, "round": 0, "exact": True},
    },
    "arguments": {},
}


@pytest.fixture
def settings(home: Path, tmp_path: Path) -> Path:
    home.mkdir()
    path = home / "silo.yaml"
    raw = {
        "name": "ash",
        "prefect_api_url": "http://127.0.0.1:1/api",
        "exchange": (tmp_path / "exchange").as_uri(),
        "source": {"folder": str(tmp_path / "secret-shop")},
    }
    path.write_text(yaml.safe_dump(raw))
    return path


def failed(asked: Any) -> SiloFailed:
    from flows.silo.step import silo_step

    with pytest.raises(SiloFailed) as caught:
        silo_step.fn(asked)
    # Neither a cause nor a context that Prefect could print.
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    return caught.value


def test_an_error_leaves_as_its_kind_only(settings: Path, home: Path, tmp_path: Path) -> None:
    check = {
        "step": "check",
        "arguments": {"items": {"path": "job-1/catalog/c", "sha256": "c" * 64, "size": 5}, "limits": {}},
    }
    error = failed(ASKED | check)
    assert str(error) == "CorruptArtifact; the silo's own log has the details."
    assert error.facts == {"error": "CorruptArtifact"}
    assert "job-1/catalog/c is missing from the exchange" in (home / "silo.log").read_text()


def test_without_a_snapshot_training_is_refused(settings: Path, home: Path) -> None:
    assert str(failed(ASKED)).startswith("NotFound;")
    assert "is not a partition" in (home / "silo.log").read_text()


@pytest.mark.parametrize("asked", [{}, {"step": "steal"}, ASKED | {"arguments": "x"}])
def test_a_malformed_order_is_an_error_like_others(settings: Path, home: Path, asked: Any) -> None:
    assert str(failed(asked)).startswith("InvalidInput;")


def test_an_order_for_another_silo_is_refused(settings: Path, home: Path) -> None:
    order = ASKED["order"] | {"client_id": "birch"}
    assert str(failed(ASKED | {"order": order})).startswith("EgressRefused;")


def test_broken_settings_are_not_shown(settings: Path, home: Path) -> None:
    settings.write_text("name: ash\nsecret_key_of_the_owner: 5\n")
    assert "secret" not in str(failed(ASKED))
    assert "secret_key_of_the_owner" in (home / "silo.log").read_text()
