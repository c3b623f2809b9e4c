"""What a coordinator knows of remote silos: their names and the catalogue."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from models.errors import InvalidInput
from tasks.datasets.membership import open_membership
from tasks.datasets.partition_reader import read_items
from tasks.local.home import Home

SILOS = ("cedar", "ash", "birch")


@pytest.fixture
def items(tmp_path: Path) -> Path:
    path = tmp_path / "items.csv"
    pd.DataFrame({"item_id": ["i2", "i1", "i3"], "title": ["B", "A", "C"]}).to_csv(path, index=False)
    return path


def test_of_remote_silos_only_the_names_are_known(tmp_path: Path, items: Path) -> None:
    found = open_membership(Home(tmp_path / "home"), items, SILOS)
    assert [client.id for client in found.clients] == ["ash", "birch", "cedar"]
    assert {(client.users, client.interactions, client.sha256) for client in found.clients} == {(0, 0, "")}
    assert not any(client.path.exists() for client in found.clients)
    assert sorted(read_items(found)["item_id"]) == ["i1", "i2", "i3"]
    assert sorted(read_items(found)["title"]) == ["A", "B", "C"]
    assert found.items_path.is_relative_to(tmp_path / "home")


def test_equal_catalogues_and_names_have_equal_digests(tmp_path: Path, items: Path) -> None:
    one = open_membership(Home(tmp_path / "home"), items, SILOS)
    assert open_membership(Home(tmp_path / "home"), items, SILOS) == one  # from what is stored
    copy = tmp_path / "copy.parquet"
    pd.read_csv(items).to_parquet(copy)
    two = open_membership(Home(tmp_path / "other"), copy, tuple(sorted(SILOS)))
    assert two.digest == one.digest
    assert open_membership(Home(tmp_path / "home"), items, SILOS[:2]).digest != one.digest
    pd.DataFrame({"item_id": ["i1", "i2"]}).to_csv(copy.with_suffix(".csv"), index=False)
    assert open_membership(Home(tmp_path / "home"), copy.with_suffix(".csv"), SILOS).digest != one.digest


@pytest.mark.parametrize(
    "silos", [(), ("ash", "ash"), ("../ash",), ("Ash",), ("",), ("ash", "a/b"), ("a" * 201,)]
)
def test_invalid_names_are_refused(tmp_path: Path, items: Path, silos: tuple[str, ...]) -> None:
    with pytest.raises(InvalidInput, match=r"runner\.silos"):
        open_membership(Home(tmp_path / "home"), items, silos)
    assert not (tmp_path / "home").exists()


def test_a_catalogue_that_breaks_a_rule_is_refused(tmp_path: Path, items: Path) -> None:
    items.write_text("item_id,title\ni1,A\ni1,B\n")
    with pytest.raises(InvalidInput, match="i1"):
        open_membership(Home(tmp_path / "home"), items, SILOS)
