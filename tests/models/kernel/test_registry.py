"""Things by name, those of installed packages among them."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import InvalidInput
from models.kernel.registry import Registry

# What the package's module registers itself with.
REGISTRY = "registry_of_test_things"
MODULE = f"""
import sys
sys.modules[{REGISTRY!r}].add("theirs", "a stranger's thing")
"""


@pytest.fixture
def things(monkeypatch: pytest.MonkeyPatch) -> Registry[str]:
    """A registry of one thing, which packages find where they look for it."""
    registry = Registry[str]("thing", "test.things")
    registry.add("ours", "our thing")
    monkeypatch.setitem(sys.modules, REGISTRY, registry)  # type: ignore[arg-type]
    return registry


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that installs a package with this entry point of the group `test.things`."""

    def installed(entry_point: str) -> None:
        monkeypatch.delitem(sys.modules, "stranger", raising=False)
        (tmp_path / "stranger.py").write_text(MODULE)
        info = tmp_path / "stranger-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[test.things]\nthing = {entry_point}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return installed


def test_a_thing_is_found_by_its_name_until_it_is_removed(things: Registry[str]) -> None:
    things.add("more", "another thing")
    things.add("more", things.find("more"))  # the same thing again is no second one
    assert (things.names(), things.things()) == (("more", "ours"), ("our thing", "another thing"))
    things.remove("more")
    assert things.names() == ("ours",)


@pytest.mark.parametrize("name", ["their", "", None, ["ours"]])
def test_an_unknown_name_is_refused_with_the_known_ones(things: Registry[str], name: object) -> None:
    with pytest.raises(ValueError, match=r"no thing .*, only ours"):
        things.find(name)
    things.remove("ours")
    with pytest.raises(ValueError, match="only an empty list"):
        things.find(name)


def test_a_name_belongs_to_one_thing(things: Registry[str]) -> None:
    with pytest.raises(InvalidInput, match="a thing of the name 'ours'"):
        things.add("ours", "another thing")


def test_packages_are_loaded_when_something_is_looked_for_that_is_not_registered(
    things: Registry[str], install: Callable[[str], None]
) -> None:
    install("stranger")
    assert things.find("ours") == "our thing"
    assert things.registered() == ("our thing",)
    assert things.find("theirs") == "a stranger's thing"
    assert things.things() == ("our thing", "a stranger's thing")


@pytest.mark.parametrize("entry_point", ["nowhere", "stranger:Nothing"])
def test_a_package_that_cannot_be_loaded_is_named_at_each_lookup(
    things: Registry[str], install: Callable[[str], None], entry_point: str
) -> None:
    install(entry_point)
    for _ in range(2):
        with pytest.raises(InvalidInput, match=r"entry point 'thing' of test\.things cannot be loaded"):
            things.names()
