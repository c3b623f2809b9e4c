"""What the doctor says of a roster before it asks the gateway (tests/flows/commands/gateway)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.silo.examination import examine
from tasks.local.home import Home
from tasks.silos.keys import make_key
from tasks.silos.roster import add_member


@pytest.mark.parametrize(
    ("policy", "members", "is_ok", "words"),
    [
        ({}, (), True, "no secure sums"),
        ({}, ("birch", "cedar"), True, "with birch, cedar"),
        ({}, ("birch",), False, "1 other silos"),
        ({"plain": False}, (), False, "0 other silos"),
        ({"min_cohort": 4}, ("birch", "cedar"), False, "has 4 members"),
        ({"min_cohort": 4}, ("birch", "cedar", "elm"), True, "with birch, cedar, elm"),
    ],
)
def test_a_roster_must_suffice_for_the_least_sum(
    tmp_path: Path, policy: dict[str, object], members: tuple[str, ...], is_ok: bool, words: str
) -> None:
    home = Home(tmp_path / "ash")
    home.root.mkdir()
    settings = {"name": "ash", "source": {"folder": str(tmp_path)}, "policy": policy}
    (home.root / "silo.yaml").write_text(yaml.safe_dump(settings))
    for name in members:
        add_member(home, name, make_key(Home(tmp_path / name)).public)
    found = {each.name: each for each in examine(home, home.root / "silo.yaml")}["roster"]
    assert (found.ok, bool(found.next_step)) == (is_ok, not is_ok)
    assert words in found.finding
