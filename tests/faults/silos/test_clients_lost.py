"""Clients that cannot take part: damaged data, breached contracts, silence. Rounds continue without them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flows.terminal.progress import Event, listening
from tasks.local.checksums import digest_of


def rejection(result: dict[str, Any], round_: int, client_id: str) -> dict[str, str]:
    (found,) = [each for each in result["rounds"][round_ - 1]["rejected"] if each["client_id"] == client_id]
    return dict(found)


def republish(partition: Path, client_id: str) -> None:
    """Make the partition's manifest name the client's file as it is now."""
    manifest = partition / "partition.json"
    facts = json.loads(manifest.read_text())
    (entry,) = [each for each in facts["clients"] if each["id"] == client_id]
    entry["sha256"] = hashlib.sha256((partition / entry["path"]).read_bytes()).hexdigest()
    facts["digest"] = digest_of({"catalog": facts["catalog"], "clients": facts["clients"]})
    manifest.write_text(json.dumps(facts))


def truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def missing(path: Path) -> None:
    path.unlink()


def doubled(path: Path) -> None:
    frame = pd.read_parquet(path)
    pd.concat([frame, frame.iloc[:1]]).to_parquet(path, index=False)
    republish(path.parents[2], path.parent.name)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "changed"),
        (changed, "changed"),
        (missing, "cannot be read"),
        (doubled, "each pair of user_id and item_id once"),
    ],
)
def test_a_client_with_wrong_data_is_left_out(federation: Any, damage: Any, reason: str) -> None:
    config = federation.config(federation={"rounds": 2})
    path = federation.client_file("birch")
    damage(path)
    result = federation.run(config)
    lost = {round_: {"birch": "interactions"} for round_ in (1, 2)}
    federation.check(config, result, lost)
    for round_ in lost:
        assert reason in rejection(result, round_, "birch")["reason"]
    assert [each["client_id"] for each in result["clients"]] == ["ash", "cedar"]


class Fifo:
    """A path at which readers wait until it is opened for writing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.unlink(missing_ok=True)
        os.mkfifo(path)

    def release(self) -> None:
        """Let a waiting reader read nothing and continue."""
        with contextlib.suppress(OSError):  # if no reader waits
            os.close(os.open(self.path, os.O_WRONLY | os.O_NONBLOCK))


# Each client has a Prefect task of its own, or all share one.
@pytest.mark.parametrize("runner", [{"client_tasks": 3}, {"client_tasks": 0, "threads": 1}])
def test_a_client_that_never_answers_is_left_out_of_every_round(federation: Any, runner: Any) -> None:
    config = federation.config(federation={"rounds": 2, "deadline_s": 6}, runner=runner)
    fifo = Fifo(federation.client_file("cedar"))
    try:
        result = federation.run(config)
    finally:
        fifo.release()
    federation.check(config, result, {round_: {"cedar": "deadline"} for round_ in (1, 2)})
    assert rejection(result, 1, "cedar")["reason"] == "no answer within 6 s when its data were checked"


@pytest.mark.parametrize("runner", [{"client_tasks": 3}, {"client_tasks": 0}])
def test_silent_and_diverging_clients_are_left_out_of_their_rounds_alone(
    federation: Any, runner: Any
) -> None:
    """Cedar hangs from round 2 on as it reads its users' state. Birch's state is damaged before round 3."""
    config = federation.config(federation={"rounds": 4, "deadline_s": 4, "quorum_share": 0.3}, runner=runner)
    fifos: list[Fifo] = []
    kept: dict[str, bytes] = {}

    def state(client_id: str, round_: int) -> Path:
        (job,) = (federation.home.silos / client_id / "state").iterdir()
        return job / f"round-{round_:06d}.safetensors"

    def between(event: Event) -> None:
        if event.round == 1:
            fifos.append(Fifo(state("cedar", 1)))
        if event.round == 2:
            path = state("birch", 2)
            kept["birch"] = path.read_bytes()
            path.write_bytes(kept["birch"][:-40])
        if event.round == 3:
            state("birch", 2).write_bytes(kept["birch"])

    try:
        with listening(between):
            result = federation.run(config)
    finally:
        for fifo in fifos:
            fifo.release()
    lost = {2: {"cedar": "deadline"}, 3: {"birch": "training", "cedar": "deadline"}, 4: {"cedar": "deadline"}}
    federation.check(config, result, lost)
    assert rejection(result, 2, "cedar")["reason"] == "no answer within 4 s"
    assert rejection(result, 3, "cedar")["reason"] == "it still works on an earlier order"
    assert "safetensors" in rejection(result, 3, "birch")["reason"]
    # A client that hangs loses its own comparison and no other.
    assert [each["client_id"] for each in result["clients"]] == ["ash", "birch"]
    assert threading.active_count() < 50


def test_a_job_whose_clients_all_diverge_stops(federation: Any) -> None:
    config = federation.config(train={"learning_rate": 1e38})
    result = federation.run(config)
    assert result["exit_code"] == 3
    assert result["status"] == "stopped"
    assert "DivergedUpdate" in result["stop_reason"]
    assert result["rounds"] == []
    federation.check(config, result, lost={}, rounds=0)
