"""Jobs that end before their last round: in order, with the previous model, and able to continue."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from data_contracts.outcome import ContractOutcome
from flows.terminal.progress import Event, listening
from models.errors import JobBusy


def test_a_job_under_quorum_stops_and_continues_when_the_silos_are_back(federation: Any) -> None:
    """Two of three silos fail in round 3. The same command continues when they are back."""
    config = federation.config(federation={"rounds": 4, "quorum_share": 0.6})
    states = {}

    def between(event: Event) -> None:
        if event.round == 2:
            for client_id in ("ash", "birch"):
                (path,) = (federation.home.silos / client_id / "state").glob("*/round-000002.safetensors")
                states[path] = path.read_bytes()
                path.write_bytes(b"damaged")

    with listening(between):
        stopped = federation.run(config)
    assert stopped["exit_code"] == 3
    assert "quorum is 2" in stopped["stop_reason"]
    assert all(client_id in stopped["stop_reason"] for client_id in ("ash", "birch"))
    federation.check(config, stopped, lost={}, rounds=2)
    assert stopped["final"] == {"federated": None, "centralised": None, "silo_only": None}
    json.dumps(stopped, allow_nan=False)

    for path, data in states.items():
        path.write_bytes(data)
    result = federation.run(config)
    assert result["exit_code"] == 0
    assert result["job_id"] == stopped["job_id"]
    assert result["run_id"] == stopped["run_id"]
    federation.check(config, result, lost={}, states={"FAILED": 1, "COMPLETED": 1})


def test_the_next_attempt_replaces_an_update_that_was_damaged_under_quorum(
    federation: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.exchange.store import Exchange

    config = federation.config(federation={"rounds": 1, "quorum_share": 1.0})
    put = Exchange.put

    def damaging(self: Any, folder: str, data: bytes) -> Any:
        ref = put(self, folder, data)
        if folder.endswith("/updates/000001/birch"):
            (federation.home.exchange / ref.path).write_bytes(b"\0" * ref.size)
        return ref

    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "put", damaging)
        stopped = federation.run(config)
    federation.check(config, stopped, lost={}, rounds=0)
    assert "birch (update: " in stopped["stop_reason"]
    result = federation.run(config)
    federation.check(config, result, lost={}, states={"FAILED": 1, "COMPLETED": 1})


def test_a_model_that_breaks_its_contract_is_refused_and_the_previous_one_stays(federation: Any) -> None:
    """The limit lies between the norms after rounds 1 and 2, so round 2 is refused."""
    from mlflow.tracking import MlflowClient

    norms = [
        float(np.linalg.norm(model.items.embeddings, axis=1).mean())
        for model in federation.reference(federation.config(), {}, 2)
    ]
    assert norms[1] < norms[2]
    config = federation.config(contracts={"embeddings": {"max_mean_norm": (norms[1] + norms[2]) / 2}})
    result = federation.run(config)
    assert result["exit_code"] == 5
    assert "The model of round 2 was refused, and the one of round 1 stays" in result["stop_reason"]
    federation.check(config, result, lost={}, rounds=1)
    client = MlflowClient()
    assert client.get_run(result["run_id"]).data.tags["fedrec.breach"] == "round 2: round-2"
    path = client.download_artifacts(result["run_id"], "contracts/round-2.json")
    outcome = ContractOutcome.from_json(Path(path).read_text())
    assert not outcome.passed
    assert [breach.expectation for breach in outcome.breaches] == ["mean_norm_in_range"]
    assert [each["subject"] for each in result["contracts"] if not each["passed"]] == ["round-2"]


def test_a_second_coordinator_is_refused_and_changes_nothing(federation: Any) -> None:
    """The second starts while the first is between two rounds, and is refused at once."""
    config = federation.config(federation={"rounds": 2})
    refused: list[BaseException] = []

    def second() -> None:
        try:
            federation.run(config)
        except BaseException as error:  # noqa: BLE001
            refused.append(error)

    def between(event: Event) -> None:
        if event.round == 1:
            thread = threading.Thread(target=second)
            thread.start()
            thread.join(timeout=60)
            assert not thread.is_alive()

    with listening(between):
        result = federation.run(config)
    (error,) = refused
    assert isinstance(error, JobBusy)
    assert error.job_id == result["job_id"]
    federation.check(config, result, lost={}, states={"COMPLETED": 1, "FAILED": 1})
