"""The README is true: its commands run as printed there, and it names every command."""

from __future__ import annotations

import json
import os
import re
import sqlite3
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from flows.cli import COMMANDS

CHECKOUT = Path(__file__).parents[2]
README = (CHECKOUT / "README.md").read_text()


def _block_below(heading: str) -> str:
    """Return the first code block below a heading."""
    section = README.split(f"## {heading}\n", 1)[1].split("\n## ", 1)[0]
    found = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert found, f"no code block below {heading!r}"
    return found.group(1)


def _shop(folder: Path) -> None:
    """Write the files of the README's example: two regions, two tastes."""
    articles = ["Espresso cups", "Moka pot", "Grinder", "Milk jug", "Tea pot", "Tea cups", "Infuser", "Honey"]
    pd.DataFrame({"item_id": range(8), "title": articles}).to_csv(folder / "articles.csv", index=False)
    sales = [
        (user, item, user * 100 + step)
        for user in range(12)
        for step, item in enumerate([*range(4), 4] if user % 2 else [*range(4, 8), 0])
    ]
    names = ["user_id", "item_id", "timestamp"]
    pd.DataFrame(sales, columns=names).to_csv(folder / "sales.csv", index=False)
    regions = [(user, "north" if user < 6 else "south") for user in range(12)]
    pd.DataFrame(regions, columns=["user_id", "region"]).to_csv(folder / "customers.csv", index=False)


def test_every_command_is_documented() -> None:
    for name in COMMANDS:
        assert f"`fedrec {name}" in README, f"the README does not name `fedrec {name}`"


def test_linked_files_exist() -> None:
    for target in re.findall(r"\]\(((?!https?:)[^)#]+)\)", README):
        assert (CHECKOUT / target).exists(), f"the README links to {target}, which does not exist"


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (CHECKOUT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z0-9]+)", README, re.MULTILINE))
    assert named
    assert named <= targets


@pytest.mark.timeout(300)
def test_own_data_example_runs(tmp_path: Path, home: Path) -> None:
    """Run the commands of the example as a shell reads them, with fewer rounds to save time."""
    _shop(tmp_path)
    commands = _block_below("Your own data").replace("fedrec train", "fedrec train --set federation.rounds=3")
    environment = {
        **os.environ,
        "FEDREC_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("PREFECT_API_URL", None)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{commands.rstrip()} --json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout[done.stdout.rindex("\n{\n") :])
    assert [item["title"] for item in answer["history"]] == ["Espresso cups", "Moka pot"]
    assert len(answer["recommendations"]) == 5
    recommended = {item["title"] for item in answer["recommendations"]}
    assert not recommended & {"Espresso cups", "Moka pot"}
    # Prefect's server ended with the training job, and had recorded all of its tasks before.
    with sqlite3.connect(home / "prefect" / "prefect.db") as database:
        states = dict(database.execute("SELECT state_type, count(*) FROM task_run GROUP BY state_type"))
        assert list(states) == ["COMPLETED"]
    # The promotion needed no server: the ledger has the decision and that it was applied.
    ledger = (home / "ledger" / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["body"]["type"] for line in ledger] == ["decision", "applied"]
    written = {path.name for path in tmp_path.iterdir()}
    assert written == {"sales.csv", "articles.csv", "customers.csv", "shops.yaml", "data", home.name}
