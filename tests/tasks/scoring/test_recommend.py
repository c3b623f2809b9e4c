"""`fedrec recommend`: items are named by title or id, and unknown ones are left out with a note."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from flows.cli import cli
from models.errors import InvalidInput
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry

TITLES = [
    "20,000 Leagues Under the Sea (1954)",
    "Star Wars (1977)",
    "Usual Suspects, The (1995)",
    "Fargo (1996)",
]


@pytest.fixture
def champion(world: Any) -> Any:
    """Return a world with one version, of whose titles one has a comma; ids are 1, 50, 12 and 100."""
    catalog = world.artifacts / "catalog" / "items.parquet"
    pd.read_parquet(catalog).assign(title=TITLES).to_parquet(catalog)
    world.register(1, None)
    return world


def recommend(*arguments: str) -> Result:
    return CliRunner().invoke(
        cli, ["recommend", *arguments, "--version", "1", "--json"], standalone_mode=False
    )


def best(world: Any, rows: list[int], exclude: list[int]) -> list[str]:
    recommender = recommender_of(registry.load_version(world.client, world.model_name, 1))
    return [one.item_id for one in recommender.recommend(rows, 10, exclude)]


def test_titles_with_commas_and_repeated_items_are_one_history(champion):
    result = recommend(
        *("--history", "20,000 leagues under the sea,50"),
        *("--item", "Usual Suspects, The (1995)", "--item", "50"),
    )

    answer = json.loads(result.stdout)
    assert [item["item_id"] for item in answer["history"]] == ["1", "50", "12"]
    assert (answer["unknown"], answer["notes"], result.stderr) == ([], [], "")
    assert [item["item_id"] for item in answer["recommendations"]] == best(champion, [0, 1, 2], [])


def test_unknown_items_are_left_out_with_a_note(champion):
    result = recommend("--history", "50,9999,Toy Story", "--exclude", "Farg,12,zzzz", "--item", "Fargoo")

    answer = json.loads(result.stdout)
    assert [item["item_id"] for item in answer["history"]] == ["50"]
    assert answer["unknown"] == ["9999", "Toy Story", "Fargoo"]
    assert [item["item_id"] for item in answer["recommendations"]] == best(champion, [1], [2, 3]) == ["1"]
    notes = result.stderr.splitlines()
    assert len(notes) == 4
    assert (
        "'Fargoo' is no item's title or id. It is left out. Did you mean: Fargo (1996) [id 100]" in notes[2]
    )
    assert "'zzzz' is no item's title or id" in notes[3]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--history", "9999"], "'9999' is no item's title or id"),
        (
            ["--history", "20,000 Leages Undr"],
            "'20,000 Leages Undr' is no item's title or id.*Did you mean: 20,000",
        ),
        (["--item", "Farg"], "'Farg' is no item's title or id.*Did you mean: Fargo"),
    ],
)
def test_a_history_without_any_known_item_is_wrong_input(champion, arguments, words):
    result = recommend(*arguments)

    assert isinstance(result.exception, InvalidInput)
    with pytest.raises(InvalidInput, match=words):
        raise result.exception


@pytest.mark.parametrize("arguments", [[], ["--history", " , "]])
def test_without_items_the_options_are_named(arguments):
    result = CliRunner().invoke(cli, ["recommend", *arguments])

    assert result.exit_code == 2
    assert "--history or --item" in result.output
