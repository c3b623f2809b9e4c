"""What the doctor says of a roster before it asks the gateway (tests/flows/commands/gateway)."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from flows.silo.examination import Check, examine
from tasks.local.home import Home
from tasks.silos.keys import make_key, public_pem
from tasks.silos.roster import add_member


def examined(home: Home, policy: dict[str, object], check: str) -> Check:
    """Return what the doctor says of silo "ash", which has a key."""
    home.root.mkdir(exist_ok=True)
    shop = home.root.parent / "shop"
    shop.mkdir(exist_ok=True)
    (shop / "sales.csv").write_text("user_id,item_id\nu1,a\nu2,b\n")
    settings = {"name": "ash", "source": {"folder": str(shop)}, "policy": policy}
    (home.root / "silo.yaml").write_text(yaml.safe_dump(settings))
    return {each.name: each for each in examine(home, home.root / "silo.yaml")}[check]


@pytest.mark.parametrize("own", ["name", "key"])
def test_a_silo_does_not_count_itself_twice(tmp_path: Path, own: str) -> None:
    home = Home(tmp_path / "ash")
    public = make_key(home).public
    for name in ("birch", "cedar"):
        add_member(home, name, make_key(Home(tmp_path / name)).public)
    # Earlier versions let an owner add this.
    name, key = ("ash", make_key(Home(tmp_path / "other")).public) if own == "name" else ("oak", public)
    (home.root / "roster" / f"{name}.pem").write_bytes(public_pem(key))
    found = examined(home, {"min_cohort": 4}, "roster")
    assert not found.ok
    assert f"this silo itself, as {name}" in found.finding
    assert f"fedrec silo roster {name} --remove" in found.next_step
    (home.root / "roster" / f"{name}.pem").unlink()
    found = examined(home, {"min_cohort": 4}, "roster")
    assert "has 4 members with this one" in found.finding
    assert "lower policy.min_cohort" in found.next_step


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({}, "plain: true lets updates and figures leave readable, if a job has no secure sums."),
        ({"plain": False}, "plain: false lets updates and figures leave in secure sums only."),
        (
            {"plain": False, "publish": ["benefit"]},
            "in secure sums only; publish lets benefit leave readable.",
        ),
        (
            {"plain": False, "max_epsilon": 4},
            "in secure sums only; max_epsilon allows only jobs with noise for an epsilon of at most 4.",
        ),
    ],
)
def test_the_policy_says_what_leaves_readable(tmp_path: Path, policy: dict[str, object], said: str) -> None:
    make_key(Home(tmp_path / "ash"))
    found = examined(Home(tmp_path / "ash"), policy, "policy")
    assert found.ok
    assert found.finding.endswith(said)


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
