"""The commands that are printed after a job: for the user's own model and items, and safe to paste."""

from __future__ import annotations

import shlex

import pytest

from tasks.reports.next_steps import example_items, steps_after
from tests.worlds.records import job_result, round_result


def commands(result) -> list[list[str]]:
    return [shlex.split(step.split("`")[1]) for step in steps_after(result)]


def test_the_steps_name_the_job_s_model_and_items():
    rounds = (round_result(1, version=41, metrics={"validation/ndcg@10": 0.2}),)
    result = job_result(model_name="shops", rounds=rounds, examples=("Cups, white", "Moka's pot"))
    promote, recommend, serve, audit = commands(result)
    assert promote == ["fedrec", "promote", "--model", "shops", "--version", "41"]
    items = ["--item", "Cups, white", "--item", "Moka's pot"]
    assert recommend == ["fedrec", "recommend", "--model", "shops", *items, "-k", "10"]
    assert serve == ["fedrec", "serve", "--model", "shops"]
    assert audit == ["fedrec", "audit", "--model", "shops"]


def test_a_job_without_a_version_has_nothing_to_promote():
    assert steps_after(job_result(rounds=(), examples=("Cups",))) == []


@pytest.mark.parametrize(
    ("name", "values", "version"),
    [
        ("ndcg@10", (0.2, 0.4, 0.3), 32),
        # An error is best where it is lowest.
        ("rmse", (0.9, 1.1, 0.95), 31),
        # The test cases never decide, and of equal rounds the last was trained longest.
        ("ndcg@10", (0.4, 0.1, 0.4), 33),
    ],
)
def test_the_promoted_version_is_the_best_by_validation(name, values, version):
    rounds = tuple(
        round_result(place, version=30 + place, metrics={f"validation/{name}": value, f"test/{name}": place})
        for place, value in enumerate(values, start=1)
    )
    (promote, *_) = commands(job_result(rounds=rounds))
    assert promote == ["fedrec", "promote", "--model", "movies", "--version", str(version)]


def test_a_best_round_that_mlflow_lacks_has_no_version_to_promote():
    rounds = (round_result(1), round_result(2, version=None, metrics={"validation/ndcg@10": 0.2}))
    step = steps_after(job_result(rounds=rounds))[0]
    assert step.startswith("Round 2, the best of the job's rounds by validation NDCG@10, has no version")
    assert "promote" not in step


def test_a_job_without_an_evaluated_round_names_no_version():
    assert commands(job_result(rounds=(round_result(1),)))[0][1] == "serve"


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
