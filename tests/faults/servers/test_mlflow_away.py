"""MLflow's server is killed at the start, in the middle and at a promotion. Training continues without it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from flows.terminal.progress import Event, listening
from models.errors import TrackingUnavailable
from tasks.messages.round_record import EvaluatedRound
from tasks.promotion import ledger
from tasks.tracking import registry
from tasks.tracking.outbox_sender import send_what_waits
from tests.waiting import until


@pytest.fixture
def served(federation: Any, mlflow_server: Any, empty_database: Path) -> Any:
    """Return the server that the federation tracks to. Its database is empty."""
    shutil.copy(empty_database, mlflow_server.folder / "mlflow.db")
    return mlflow_server


def test_a_job_without_mlflow_is_tracked_once_by_the_next_command(federation: Any, served: Any) -> None:
    """A job without MLflow ends as usual. The next command sends its records, once."""
    config = federation.config(federation={"rounds": 3})
    said: list[str] = []
    with listening(lambda event: said.append(event.text)):
        result = federation.run(config)
    assert result["status"] == "finished"
    assert result["run_id"] is None
    assert [each["version"] for each in result["rounds"]] == [None] * 3
    assert [
        line for line in said if line.startswith("MLflow is unavailable, and gets everything later.")
    ] != []
    assert any("6 records wait in " in line for line in said), said
    # Still away: nothing is lost and no error is raised.
    assert send_what_waits(federation.home) == []
    served.start()
    assert send_what_waits(federation.home) == [result["job_id"]]
    assert send_what_waits(federation.home) == []
    tracked = federation.journal(result).result().to_json()
    assert [each["version"] for each in tracked["rounds"]] == [1, 2, 3]
    assert tracked["model_sha256"] == result["model_sha256"]
    federation.check(config, tracked, lost={})


def test_a_round_whose_registration_lost_its_answer_is_registered_once(
    federation: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow dies after it has registered round 2 and before it answers. It is back for round 4."""
    config = federation.config(federation={"rounds": 5})
    served.start()
    from tasks.tracking import run_tracker as tracking

    register = tracking.register_round

    def answer_lost(client: Any, model_name: str, run_id: str, uri: str, record: EvaluatedRound) -> int:
        version = register(client, model_name, run_id, uri, record)
        if record.round == 2 and not rounds:
            rounds.append(version)
            served.stop()
            client.search_experiments(max_results=1)  # raises what a lost answer raises
        return version

    rounds: list[int] = []

    def between(event: Event) -> None:
        if event.round == 2:
            until(lambda: rounds)
        if event.round == 3:
            served.start()

    monkeypatch.setattr(tracking, "register_round", answer_lost)
    with listening(between):
        result = federation.run(config)
    assert rounds == [2]
    assert [each["version"] for each in result["rounds"]] == [1, 2, 3, 4, 5]
    federation.check(config, result, lost={})


def test_a_promotion_is_completed_once_mlflow_is_back(
    federation: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MLflow is away before the decision, and then between the decision and the alias."""
    from flows.promote import promotion
    from tasks.promotion import promote as shell

    config = federation.config(federation={"rounds": 2})
    served.start()
    result = federation.run(config)
    served.stop()
    with pytest.raises(TrackingUnavailable, match=r"does not answer at http://127\.0") as caught:
        promotion(model_name=federation.name)
    assert "run the same command again" in str(caught.value)
    assert ledger.read(federation.home).entries == []

    served.start()
    set_aliases = shell._set_aliases

    def cut_off(*args: Any) -> Any:
        served.stop()
        return set_aliases(*args)

    with monkeypatch.context() as patch:
        patch.setattr(shell, "_set_aliases", cut_off)
        with pytest.raises(TrackingUnavailable):
            promotion(model_name=federation.name)
    assert [entry.body["type"] for entry in ledger.read(federation.home).entries] == ["decision"]

    served.start()
    client = registry.client(federation.home)
    assert registry.aliases(client, federation.name) == {}
    outcome = promotion(model_name=federation.name)
    assert outcome["already_champion"]
    assert outcome["repaired"] == ["completed the interrupted promotion of version 2"]
    assert [entry.body["type"] for entry in ledger.read(federation.home).entries] == ["decision", "applied"]
    assert registry.aliases(client, federation.name) == {"champion": 2}
    assert registry.load_version(client, federation.name, "champion").sha256 == result["model_sha256"]
    federation.check_files(config, result, lost={})
