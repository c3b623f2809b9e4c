"""Three silos under three Unix accounts: no party reads another's folder, and the model is the same."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from typing import Any

import pytest

from tests.e2e.federation import HUB, SILOS, Stack
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)


def may(stack: Stack, party: str, code: str) -> bool:
    """Return whether the party's account may do this."""
    done = subprocess.run(
        [stack.python, "-c", f"import pathlib, os\n{code}"],
        **stack.as_party(party),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 or "PermissionError" in done.stderr, done.stderr
    return done.returncode == 0


def test_every_party_has_access_to_its_own_folder_alone(stack: Stack) -> None:
    for owner in (HUB, *SILOS):
        for reader in (HUB, *SILOS):
            for folder in (stack.root / owner, stack.home(owner).root):
                assert may(stack, reader, f"os.listdir({str(folder)!r})") is (reader == owner)
    for silo in SILOS:
        assert may(stack, silo, f"open({str(stack.root / silo / 'data/sales.csv')!r}).read()")
        assert not may(stack, HUB, f"open({str(stack.root / silo / 'data/sales.csv')!r}).read()")
        assert not may(stack, HUB, f"open({str(stack.home(silo).root / 'keys/private.pem')!r}).read()")
        for writer in (HUB, *SILOS):
            probe = (
                f"p = pathlib.Path({str(stack.exchange / 'silos' / silo / 'probe')!r}); p.touch(); p.unlink()"
            )
            assert may(stack, writer, probe) is (writer == silo)
        assert not may(stack, silo, f"pathlib.Path({str(stack.exchange / 'probe')!r}).touch()")


def test_a_run_started_in_prefect_gives_the_local_model(stack: Stack, local: dict[str, Any]) -> None:
    result = stack.by_hand("manual")

    assert result["status"] == "finished"
    assert [each["accepted"] for each in result["rounds"]] == [list(SILOS)] * 2
    assert [each["model_sha256"] for each in result["rounds"]] == [
        each["model_sha256"] for each in local["rounds"]
    ]
    assert result["final"]["federated"] == local["final"]["federated"]
    for each in result["rounds"]:
        print({name: round(value, 3) for name, value in each["seconds"].items()})

    for silo in SILOS:
        egress = stack.json_of(silo, "silo", "egress", "--job", result["job_id"], "--verify")
        assert egress["verified"] is True
        assert egress["refused"] == []
        left = [(row["round"], row["what"]) for row in egress["sent"]]
        assert sorted(left) == [
            *((0, "check"), (1, "client_update"), (1, "train"), (2, "client_update")),
            *((2, "compare"), (2, "evaluate"), (2, "train")),
        ]
        files = list((stack.exchange / "silos" / silo).rglob("*.safetensors"))
        written = {
            json.loads(line)["body"]["sha256"]
            for line in (stack.home(silo).root / "egress.jsonl").read_text().splitlines()
        }
        assert {file.stem for file in files} <= written
    # No user's id is in the exchange, nor in the coordinator's journals and databases.
    user_id = re.compile(rb"(?<![\\\\0-9a-zA-Z])u0[0-2][0-9](?![0-9a-zA-Z])")
    prefect = stack.postgres.dump(stack.database)
    assert result["job_id"] in prefect
    assert not user_id.search(prefect.encode())
    kept = [path for path in stack.home(HUB).root.rglob("*") if path.suffix in {".json", ".db"}]
    assert any(path.name == "mlflow.db" for path in kept)
    for path in [*kept, *(path for path in stack.exchange.rglob("*") if path.is_file())]:
        assert not user_id.search(path.read_bytes()), path


def test_a_schedule_starts_the_job(stack: Stack, local: dict[str, Any]) -> None:
    assert stack.by_schedule("often")["model_sha256"] == local["model_sha256"]


def test_a_job_goes_on_without_a_silo_that_was_killed_between_rounds(stack: Stack) -> None:
    config = stack.config("killed", federation={"rounds": 2, "deadline_s": stack.deadline_s})
    stack.deploy("killed", config)
    done = stack.run(HUB, "deployment", "run", "federated-training/killed", module="prefect")
    assert done.returncode == 0, done.stderr
    jobs = stack.home(HUB).jobs
    until(lambda: list(jobs.glob("killed-*/rounds/000001.json")), what="round 1")
    stack.stop("worker-cedar", signal.SIGKILL)
    try:
        result = stack.finished("killed")
    finally:
        stack.serve("cedar")

    assert result["status"] == "finished"
    first, second = result["rounds"]
    assert first["accepted"] == list(SILOS)
    assert second["accepted"] == ["ash", "birch"]
    (rejection,) = second["rejected"]
    assert (rejection["client_id"], rejection["stage"]) == ("cedar", "deadline")
