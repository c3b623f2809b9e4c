"""`fedrec silo` and `fedrec trust` as a user calls them: arguments, output, exit codes."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from tasks.local.home import Home
from tasks.silos.egress_ledger import EgressLedger


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def fedrec(folder: Path, *arguments: str, home: str = "silo", **options) -> subprocess.CompletedProcess[str]:
    environ = os.environ | {"FEDREC_HOME": str(folder / home), "COLUMNS": "300"}
    command = [sys.executable, "-c", "from flows.cli import main; main()", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False, **options
    )


def answered(done: subprocess.CompletedProcess[str]) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def refused(done: subprocess.CompletedProcess[str], code: int) -> str:
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_silo_enrols_and_the_coordinator_trusts_it(folder):
    enrolled = answered(fedrec(folder, "silo", "enrol", "--name", "ash", "--json"))
    assert enrolled["name"] == "ash"
    assert len(enrolled["key_id"]) == 16
    public = Path(enrolled["public_key_file"])
    raw = load_pem_public_key(public.read_bytes()).public_bytes_raw()
    fingerprint = hashlib.sha256(raw).hexdigest()
    assert enrolled["fingerprint"] == fingerprint
    assert public == folder / "silo" / "keys" / "public.pem"
    assert public.read_text() == enrolled["public_key"]
    assert Path(enrolled["private_key_file"]).stat().st_mode & 0o777 == 0o600

    def trust(*arguments: str, **options) -> subprocess.CompletedProcess[str]:
        return fedrec(folder, "trust", *arguments, home="coordinator", **options)

    first = {
        "name": "ash",
        "key_id": enrolled["key_id"],
        "fingerprint": fingerprint,
        "replaced": None,
    }
    other = refused(trust("ash", str(public), "--fingerprint", "0" * 64), 2)
    assert f"has the fingerprint {fingerprint}, not {'0' * 64}" in other
    assert answered(trust("--list", "--json")) == {"silos": []}
    assert answered(trust("ash", str(public), "--fingerprint", fingerprint.upper(), "--json")) == first
    assert answered(trust("ash", str(public), "--json")) == first
    assert answered(trust("ash", "-", "--json", input=enrolled["public_key"])) == first
    shown = trust("--list")
    assert shown.stdout == f"{fingerprint}  ash\n"

    again = answered(fedrec(folder, "silo", "enrol", "--name", "ash", "--force", "--json"))
    assert "--force" in refused(trust("ash", str(public)), 2)
    assert answered(trust("ash", str(public), "--force", "--json"))["replaced"] == enrolled["key_id"]
    ash = {"name": "ash", "key_id": again["key_id"], "fingerprint": again["fingerprint"]}
    listed = {"silos": [ash]}
    assert answered(trust("--list", "--json")) == listed

    assert answered(trust("ash", "--remove", "--json")) == {"name": "ash", "removed": again["key_id"]}
    assert answered(trust("--list", "--json")) == {"silos": []}
    assert "fedrec trust ash FILE" in refused(trust("ash", "--remove"), 2)


def test_the_output_names_the_next_command(folder):
    done = fedrec(folder, "silo", "enrol", "--name", "ash")
    assert done.returncode == 0, done.stderr
    public = folder / "silo" / "keys" / "public.pem"
    assert public.read_text() in done.stdout
    assert f"Give the coordinator the file {public}" in done.stdout
    assert "fedrec trust ash public.pem" in done.stdout
    assert "PRIVATE" not in done.stdout + done.stderr

    assert "This silo already has a key pair" in refused(fedrec(folder, "silo", "enrol", "--name", "ash"), 2)
    done = fedrec(folder, "trust", "ash", str(public), home="coordinator")
    assert "Silo ash is trusted with key" in done.stdout
    assert "No silo is trusted yet" in fedrec(folder, "trust", "--list", home="other").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["trust"],
        ["trust", "ash"],
        ["trust", "--remove"],
        ["trust", "ash", "--list"],
        ["trust", "ash", "file.pem", "--remove"],
        ["trust", "ash", "--remove", "--force"],
        ["trust", "ash", "missing.pem"],
        ["silo", "enrol"],
        ["silo", "enrol", "--name", "../ash"],
        ["silo", "what"],
    ],
)
def test_wrong_arguments_are_exit_code_2_and_change_nothing(folder, arguments):
    (folder / "file.pem").write_text("no key")
    refused(fedrec(folder, *arguments), 2)
    assert not (folder / "silo").exists()


def test_a_private_key_is_refused(folder):
    private = answered(fedrec(folder, "silo", "enrol", "--name", "ash", "--json"))["private_key_file"]
    done = fedrec(folder, "trust", "ash", private, home="coordinator")
    assert "must never leave its silo" in refused(done, 2)
    assert not (folder / "coordinator").exists()


def sent(folder: Path) -> EgressLedger:
    ledger = EgressLedger(Home(folder / "silo"))
    facts = {"job_id": "job-1", "sha256": "a", "fields": ["biases", "embeddings"], "to": "silos/ash/job-1"}
    ledger.record(what="client_update", round=1, bytes=1234, **facts)
    ledger.record(what="client_update", round=2, bytes=66, **{**facts, "sha256": "b"})
    ledger.record(
        what="train", round=2, bytes=9999, refused="policy.max_update_bytes allows 5 bytes", **facts
    )
    return ledger


def test_the_owner_sees_what_left(folder):
    assert "Nothing left this silo." in fedrec(folder, "silo", "egress").stdout
    assert not (folder / "silo" / "egress.jsonl").exists()
    ledger = sent(folder)

    result = answered(fedrec(folder, "silo", "egress", "--verify", "--json"))
    assert [(row["round"], row["bytes"]) for row in result["sent"]] == [(1, 1234), (2, 66)]
    assert (result["objects"], result["bytes"], result["entries"]) == (2, 1300, 3)
    assert result["head"] == ledger.read().entries[-1].hash
    assert (result["verified"], result["torn_bytes"]) == (True, 0)

    ledger.record(
        what="prepare", job_id="job-1", round=3, bytes=0, sha256="", fields=(), refused="its sum has 2"
    )
    shown = fedrec(folder, "silo", "egress").stdout
    assert "prepare, job job-1, round 3: its sum has 2." in shown

    shown = fedrec(folder, "silo", "egress", "--verify").stdout
    assert "1,234" in shown
    assert "biases, embeddings" in shown
    assert "2 objects of 1,300 bytes left this silo." in shown
    assert "train of 9,999 bytes, job job-1, round 2: policy.max_update_bytes allows 5 bytes." in shown
    assert f"The ledger is intact: 4 entries, head {ledger.read().entries[-1].hash}." in shown
    assert (
        "Nothing left this silo for job job-9." in fedrec(folder, "silo", "egress", "--job", "job-9").stdout
    )


def test_an_edited_ledger_is_exit_code_6(folder):
    sent(folder)
    file = folder / "silo" / "egress.jsonl"
    file.write_bytes(file.read_bytes().replace(b'"bytes":1234', b'"bytes":1'))
    assert answered(fedrec(folder, "silo", "egress", "--json"))["verified"] is False
    done = fedrec(folder, "silo", "egress", "--verify", "--json")
    assert "The egress ledger was changed: entry 1" in refused(done, 6)
    assert json.loads(done.stdout)["error"]["type"] == "LedgerTampered"


def test_a_torn_line_is_explained(folder):
    sent(folder)
    with (folder / "silo" / "egress.jsonl").open("ab") as file:
        file.write(b'{"body"')
    assert "incomplete (7 bytes)" in fedrec(folder, "silo", "egress").stdout


def test_help_imports_no_command(folder):
    script = (
        "import sys\nfrom flows.cli import cli\n"
        "for arguments in (['--help'], ['silo', '--help']):\n"
        "    cli(arguments, standalone_mode=False)\n"
        "heavy = {'prefect', 'mlflow', 'pandas', 'numpy', 'cryptography', 'flows.commands.silo.enrol'}\n"
        "sys.exit(f'imported: {heavy & set(sys.modules)}' if heavy & set(sys.modules) else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "enrol" in done.stdout
    assert "egress" in done.stdout
