"""`fedrec privacy` as its users call it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from flows.commands.privacy import command
from models.errors import InvalidInput, LedgerTampered, NotFound
from models.privacy.account import Reservation
from models.privacy.mechanisms import Mechanism, epsilon_of
from tasks.local.home import Home
from tasks.privacy.account_file import read_account, reserve, settle
from tests.worlds.registered import World

FEDREC = Path(sys.executable).parent / "fedrec"
DELTA = 1e-5
FOUR = Mechanism(4.0)


def asked(world: World, **changes: Any) -> Reservation:
    """Return the reservation of the world's job."""
    found = Reservation(
        world.job_id, "movies.yaml", world.model_name, (FOUR,), 1.0, DELTA, 3.0, period="month"
    )
    return replace(found, **changes)


def run(*arguments: str) -> str:
    done = CliRunner().invoke(command, arguments, env={"COLUMNS": "40"}, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


def status(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("status", "--json", *arguments))["accounts"]
    return found


def test_without_an_account_nothing_is_listed(home: Path) -> None:
    assert run("status") == "No job has reserved anything of a privacy account yet.\n"
    assert status() == []
    with pytest.raises(NotFound, match=r"no privacy account 'users'.*The first job with privacy begins one"):
        run("status", "--account", "users")


def test_status_shows_spent_and_left_by_period_job_and_version(world: World, evaluated: Any) -> None:
    world.register(1, evaluated(0.3))
    world.register(2, evaluated(0.4))
    reserve(world.home, "users", asked(world))
    reserve(world.home, "users", asked(world, job_id="job-b", model_name="unknown"))
    settle(world.home, "users", world.job_id, [FOUR], "5" * 64)
    head = reserve(world.home, "others", asked(world, period="ever"))
    others, users = status()
    assert (others["account"], others["entries"], others["head"]) == ("others", 1, head.sha256)
    assert (users["account"], users["mechanism"], users["unit"]) == ("users", "discrete Gaussian", ["user"])
    (budget,) = users["budgets"]
    assert (budget["period"], budget["budget"], budget["delta"]) == ("month", 3.0, DELTA)
    assert budget["spent"] == pytest.approx(epsilon_of([FOUR, FOUR], DELTA))
    assert 3.0 - budget["spent"] < budget["left"] < 3.0
    assert [(job["job_id"], job["state"], job["versions"]) for job in users["jobs"]] == [
        ("job-b", "reserved", []),
        (world.job_id, "settled", [1, 2]),
    ]
    assert status("--account", "others") == [others]


def test_status_is_readable(world: World, evaluated: Any) -> None:
    world.register(1, evaluated(0.3))
    world.register(2, evaluated(0.4))
    reserve(world.home, "users", asked(world))
    one = epsilon_of([FOUR], DELTA)
    lines = run("status", "--account", "users").splitlines()
    assert lines[0].startswith(
        "Account users: noise by the discrete Gaussian, neighbours differ by one user; 1 entries, head "
    )
    assert lines[1].startswith("  Spent in the month 20")
    assert f": epsilon {one:.4g} of 3 for delta 1e-05. One more job may have 2." in lines[1]
    (row,) = (line for line in lines if line.strip().startswith(world.job_id))
    assert row.split()[:6] == [world.job_id, "movies.yaml", "movies", "1,", "2", f"{one:.4g}"]
    # Whoever raises the budget shows.
    assert row.split()[6:10] == ["1e-05", "3", "a", "month"]


def test_a_reset_counts_from_zero_and_says_who_and_why(world: World) -> None:
    reserve(world.home, "users", asked(world, period="ever"))
    reset = ("reset", "--account", "users", "--by", "Ada", "--reason", "other people")
    assert run(*reset).startswith("The privacy account users counts from zero again, by Ada: other people.")
    (found,) = status()
    assert (found["budgets"][0]["spent"], found["jobs"][0]["state"]) == (0.0, "before a reset")
    assert [(each["by"], each["reason"]) for each in found["resets"]] == [("Ada", "other people")]
    assert f"on {found['resets'][0]['at'][:10]} by Ada: other people" in run("status")
    again = json.loads(run(*reset, "--json"))
    assert (again["account"], again["entry"], again["by"]) == ("users", 3, "Ada")
    assert again["sha256"] == read_account(world.home, "users")[1].sha256


def test_a_reset_needs_an_account_a_person_and_a_reason(world: World) -> None:
    with pytest.raises(NotFound, match="no privacy account 'users'"):
        run("reset", "--account", "users", "--by", "Ada", "--reason", "other people")
    reserve(world.home, "users", asked(world))
    with pytest.raises(InvalidInput, match="a person and a reason"):
        run("reset", "--account", "users", "--by", "Ada", "--reason", " ")
    for missing in ("--account", "--by", "--reason"):
        given = {"--account": "users", "--by": "Ada", "--reason": "other people"}
        del given[missing]
        done = CliRunner().invoke(command, ["reset", *(part for pair in given.items() for part in pair)])
        assert (done.exit_code, missing in done.stderr) == (2, True)
    assert read_account(world.home, "users")[1].count == 1


def test_an_edited_account_ends_the_command_with_its_exit_code(home: Path) -> None:
    place = Home(home)
    reserve(place, "users", Reservation("job-a", "a", "a", (FOUR,), 1.0, DELTA, 3.0))
    path = place.privacy / "users.jsonl"
    path.write_bytes(path.read_bytes().replace(b"4.0", b"9.0"))
    done = subprocess.run(
        [str(FEDREC), "privacy", "status", "--json"],
        env=os.environ | {"FEDREC_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == LedgerTampered.exit_code
    assert json.loads(done.stdout)["error"]["type"] == "LedgerTampered"
    assert "privacy account 'users' was changed: entry 1" in done.stderr
