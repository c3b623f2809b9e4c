"""`fedrec witness` and `fedrec silo egress --witness` as their users call them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.coordinator.egress_witness import SiloWitness
from tasks.local.home import Home
from tasks.silos.keys import make_key
from tests.tasks.coordinator.test_egress_witness import Pair


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Return silo and coordinator after ash has answered in three rounds."""
    silo = Home(tmp_path / "silo")
    pair = Pair(silo, make_key(silo), SiloWitness(Home(tmp_path / "coordinator"), "ash"))
    for round_ in (1, 2, 3):
        pair.round(round_)
    return pair


def fedrec(pair: Pair, *arguments: str, by_silo: bool = False) -> subprocess.CompletedProcess[str]:
    home = pair.silo if by_silo else pair.witness.home
    environ = os.environ | {"FEDREC_HOME": str(home.root), "COLUMNS": "200"}
    command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def answered(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def cut(pair: Pair, entries: int) -> None:
    lines = pair.file.read_bytes().splitlines(keepends=True)
    pair.file.write_bytes(b"".join(lines[:entries]))


def test_the_auditor_sees_every_head(pair):
    result = answered(fedrec(pair, "witness", "--json"))
    assert [(row["silo"], row["round"], row["count"]) for row in result["told"]] == [
        *(("ash", 1, 1), ("ash", 2, 3), ("ash", 3, 5))
    ]
    assert result["restarts"] == []
    assert answered(fedrec(pair, "witness", "ash", "--job", "job-9", "--json"))["told"] == []
    assert pair.witness.newest().head.sha256[:12] in fedrec(pair, "witness", "ash").stdout


def test_the_auditor_checks_an_exported_ledger(pair, tmp_path):
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(pair.file.read_bytes())
    result = answered(fedrec(pair, "witness", "ash", "--ledger", str(copy), "--json"))
    assert result == {"silo": "ash", "entries": 6, "told": 3, "held": 3}
    cut(pair, 4)
    done = fedrec(pair, "witness", "ash", "--ledger", str(pair.file), "--json")
    assert done.returncode == 6
    assert "'train' of round 3, job job-1: it has 4 entries, but had 5 before" in done.stderr
    assert json.loads(done.stdout)["error"]["type"] == "LedgerTampered"


def test_the_owner_checks_the_ledger_against_what_it_signed(pair):
    file = str(pair.witness.path)
    result = answered(fedrec(pair, "silo", "egress", "--verify", "--witness", file, "--json", by_silo=True))
    assert (result["held"], result["signed_by_others"]) == (3, 0)
    cut(pair, 5)
    assert fedrec(pair, "silo", "egress", "--verify", by_silo=True).returncode == 0
    done = fedrec(pair, "silo", "egress", "--verify", "--witness", file, by_silo=True)
    assert done.returncode == 6
    assert "but not the answer" in done.stderr


def test_an_earlier_key_of_the_silo_counts_as_its_own(pair):
    pair.key = make_key(pair.silo, force=True)
    pair.round(4)
    file = str(pair.witness.path)
    result = answered(fedrec(pair, "silo", "egress", "--verify", "--witness", file, "--json", by_silo=True))
    assert (result["held"], result["signed_by_others"]) == (4, 0)


def test_a_silo_answers_for_its_own_keys_only(pair, tmp_path):
    pair.key = make_key(Home(tmp_path / "other"))
    pair.round(4)
    pair.file.write_bytes(b"".join(pair.file.read_bytes().splitlines(keepends=True)[:6]))
    arguments = ("silo", "egress", "--verify", "--witness", str(pair.witness.path))
    done = fedrec(pair, *arguments, by_silo=True)
    assert done.returncode == 0, done.stderr
    assert "The witness file also has 1 answer signed by keys of others." in done.stdout
    make_key(pair.silo, force=True)
    for aside in (pair.silo.root / "keys").glob("public-*.pem"):
        aside.unlink()
    done = fedrec(pair, *arguments, by_silo=True)
    assert done.returncode == 2
    assert "Get the witness file of this silo from the coordinator" in done.stderr


def test_an_accepted_new_beginning_stays_on_record(pair):
    arguments = ("witness", "ash", "--restart", "restored from a backup", "--actor", "ada", "--json")
    assert answered(fedrec(pair, *arguments)) == {
        "silo": "ash",
        "reason": "restored from a backup",
        "actor": "ada",
    }
    cut(pair, 2)
    checked = fedrec(pair, "witness", "ash", "--ledger", str(pair.file))
    assert checked.returncode == 0, checked.stderr
    assert "3 other heads are of an earlier ledger" in checked.stdout
    assert "accepted by ada: restored from a backup" in fedrec(pair, "witness").stdout


def test_without_answers_there_is_nothing_to_show(pair):
    assert "No silo has signed a head" in fedrec(pair, "witness", by_silo=True).stdout
    for arguments in (["birch"], ["birch", "--restart", "x"], ["birch", "--ledger", str(pair.file)]):
        done = fedrec(pair, "witness", *arguments)
        assert done.returncode == 2
        assert "Silo 'birch' never answered this coordinator" in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["witness", "--restart", "x"],
        ["witness", "ash", "--job", "x", "--restart", "x"],
        ["witness", "ash", "--ledger", "missing"],
        ["silo", "egress", "--witness", "missing"],
    ],
)
def test_wrong_arguments_are_exit_code_2(pair, arguments):
    done = fedrec(pair, *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
