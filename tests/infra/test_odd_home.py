"""make and the scripts below infra/ with a home whose path the shell, make and honcho would split or cut."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.datasets.movielens.normal_form import FORM
from tasks.local.environment import settings
from tasks.local.home import Home

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
FILES = {
    "interactions.csv": "user_id,item_id\nu,a\nv,b\n",
    "items.csv": "item_id,title\na,Alien\nb,Brazil\n",
    "users.csv": "user_id,occupation\nu,nurse\nv,pilot\n",
}


@pytest.fixture
def odd_home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "outside" / "a  b #1 %20?;'\"$HOME=:é")
    home.root.mkdir(parents=True)
    return home


def run(home: Home, *command: str) -> str:
    """Return what a command prints, in the checkout and with nothing but this home in the environment."""
    names = set(settings(home))
    kept = {name: value for name, value in os.environ.items() if name not in names}
    environ = kept | {"FEDREC_HOME": str(home.root), "PATH": f"{BIN}:{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_make_data_writes_below_it(odd_home):
    raw = odd_home.data / "ml-100k-raw"
    raw.mkdir(parents=True)
    for name, text in FILES.items():
        (raw / name).write_text(text)
    digests = {name: hashlib.sha256(text.encode()).hexdigest() for name, text in FILES.items()}
    (raw / "source.json").write_text(json.dumps({"source": "a test", "form": FORM, "files": digests}))
    command = ("make", f"BIN={BIN}", "-o", ".venv/.installed", "data")

    run(odd_home, *command)
    again = run(odd_home, *command)

    manifest = json.loads((odd_home.data / "ml-100k" / "partition.json").read_text())
    assert [each["id"] for each in manifest["clients"]] == ["nurse", "pilot"]
    assert "clients with" not in again
    assert list(odd_home.root.parent.iterdir()) == [odd_home.root]
    assert sorted(path.name for path in odd_home.data.iterdir()) == ["ml-100k", "ml-100k-raw"]


def test_a_command_gets_the_environment_of_it(odd_home):
    code = "import json, os; print(json.dumps(dict(os.environ)))"

    found = json.loads(run(odd_home, "sh", "infra/stack/with-env.sh", "python", "-c", code))

    expected = settings(odd_home)
    assert {name: found[name] for name in expected} == expected
    assert str(odd_home.root) in found["PREFECT_HOME"]
