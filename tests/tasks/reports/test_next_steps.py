"""The commands that are printed after a job: for the user's own model and items, and safe to paste."""

from __future__ import annotations

import shlex

import pytest

from tasks.reports.next_steps import example_items, steps_after
from tests.worlds.records import job_result, round_result


def commands(result) -> list[list[str]]:
    return [shlex.split(step.split("`")[1]) for step in steps_after(result)]


def test_the_steps_name_the_job_s_model_and_items():
    result = job_result(model_name="shops", rounds=(round_result(1),), examples=("Cups, white", "Moka's pot"))
    promote, recommend, serve, audit = commands(result)
    assert promote == ["fedrec", "promote", "--model", "shops"]
    items = ["--item", "Cups, white", "--item", "Moka's pot"]
    assert recommend == ["fedrec", "recommend", "--model", "shops", *items, "-k", "10"]
    assert serve == ["fedrec", "serve", "--model", "shops"]
    assert audit == ["fedrec", "audit", "--model", "shops"]


def test_a_job_without_a_version_has_nothing_to_promote():
    assert steps_after(job_result(rounds=(), examples=("Cups",))) == []


@pytest.mark.parametrize(
    ("items", "expected"),
    [
        ([("1", "Cups"), ("2", "Pots"), ("3", "Pans")], ("Cups", "Pots")),
        # Preferred items are named first, and again among all.
        ([("3", "Pans"), ("1", "Cups"), ("2", "Pots"), ("3", "Pans")], ("Pans", "Cups")),
        # Two items of one title, and a title that is another's id.
        ([("1", "Cups"), ("2", "Cups"), ("3", "Pans")], ("1", "2")),
        ([("1", "300"), ("300", "Pots"), ("3", "Pans")], ("1", "Pots")),
        # Titles that cannot be printed in one line, or that a shell or the report would change.
        ([("1", "a\nb"), ("2", ""), ("3", "x`y"), ("4", " z")], ("1", "2")),
        ([("`1", "`"), ("2", "Pots")], ("Pots",)),
        ([], ()),
    ],
)
def test_examples_name_one_item_each(items, expected):
    assert example_items(items) == expected
