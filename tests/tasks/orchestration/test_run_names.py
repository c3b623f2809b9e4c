"""The names of flow runs."""

from __future__ import annotations

import pytest
from prefect.utilities.names import generate_slug

from tasks.orchestration.run_names import run_name


def test_a_name_that_prefect_drew_says_what_the_run_is_about() -> None:
    drawn = [generate_slug(2) for _ in range(200)]

    assert [run_name(name, "ml-100k") for name in drawn] == [f"ml-100k-{name}" for name in drawn]


@pytest.mark.parametrize("typed", ["my-run", "First try", "rerun", "ml-100k-brave-lion", "brave", ""])
def test_a_name_that_a_person_typed_stays(typed: str) -> None:
    assert run_name(typed, "ml-100k") == typed


def test_a_run_that_begins_again_keeps_its_name() -> None:
    name = run_name("brave-lion", "red-fox")

    assert name == "red-fox-brave-lion"
    assert run_name(name, "red-fox") == name
