"""Entries by name, among them those that installed packages register."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from models.errors import InvalidInput
from models.kernel.registry import Registry


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that installs a package with one entry point of the group `test.things`."""

    def installed(module: str) -> None:
        folder = tmp_path / "stranger-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text("[test.things]\nthing = stranger_things\n")
        (tmp_path / "stranger_things.py").write_text(module)
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(sys.modules, "stranger_things", raising=False)

    return installed


def test_an_entry_is_found_by_its_name():
    things: Registry[int] = Registry("number", "test.numbers")
    things.add("two", 2)
    things.add("one", 1)
    assert things.names() == ("one", "two")
    assert things.find("two") == 2


@pytest.mark.parametrize("name", ["three", None, 1, ["one"]])
def test_an_unknown_name_lists_the_known_ones(name):
    things: Registry[int] = Registry("number", "test.numbers")
    with pytest.raises(ValueError, match=r"there is no number .*, only an empty list"):
        things.find(name)
    things.add("two", 2)
    things.add("one", 1)
    with pytest.raises(ValueError, match=r"there is no number .*, only one, two"):
        things.find(name)


def test_a_name_belongs_to_one_entry():
    things: Registry[object] = Registry("thing", "test.nothing")
    one = object()
    things.add("a", one)
    things.add("a", one)
    with pytest.raises(InvalidInput, match="There is a thing of the name 'a' already"):
        things.add("a", object())
    assert things.find("a") is one


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a.b", "a" * 65, "\ud800", "a\n", None, ["a"]])
def test_an_odd_name_is_refused(name):
    things: Registry[int] = Registry("number", "test.numbers")
    with pytest.raises(InvalidInput, match="cannot be the name of a number"):
        things.add(name, 1)
    assert things.names() == ()


def test_an_entry_may_be_removed_and_added_again():
    things: Registry[int] = Registry("number", "test.numbers")
    things.add("two", 2)
    things.add("one", 1)
    things.remove("two", 2)
    things.remove("three", 3)
    things.remove("one", 11)  # another thing of that name stays
    assert things.things() == (1,)
    things.add("two", 22)
    assert things.things() == (1, 22)


def test_an_installed_package_registers_its_own_at_the_first_lookup(install, monkeypatch):
    things: Registry[str] = Registry("thing", "test.things")
    holder = type(sys)("test_things_holder")
    holder.things, holder.loaded = things, []
    monkeypatch.setitem(sys.modules, "test_things_holder", holder)
    install(
        "from test_things_holder import loaded, things\nloaded.append(1)\nthings.add('theirs', 'a thing')\n"
    )
    things.add("ours", "another")
    assert (things.find("ours"), things.registered()) == ("another", ("another",))
    assert holder.loaded == []
    assert things.things() == ("another", "a thing")
    assert things.names() == ("ours", "theirs")
    assert things.find("theirs") == "a thing"
    assert holder.loaded == [1]


@pytest.mark.parametrize(
    "code", ["import a_module_that_does_not_exist", "raise ValueError('no licence')", "a syntax error"]
)
def test_a_package_that_cannot_be_imported_is_named(install, code):
    things: Registry[str] = Registry("thing", "test.things")
    install(f"{code}\n")
    things.add("ours", "one")
    for _ in range(2):  # a second look does not take the first for a success
        with pytest.raises(InvalidInput, match=r"entry point 'thing' of test\.things cannot be loaded"):
            things.names()
    assert things.registered() == ("one",)
