"""Histories as users type them."""

from __future__ import annotations

import pytest

from models.errors import InvalidInput
from models.recommenders.items.titles import TitleIndex, shortened

ITEMS = {
    "1": "Toy Story (1995)",
    "50": "Star Wars (1977)",
    "12": "Usual Suspects, The (1995)",
    "300": "Heat (1995)",
    "301": "Body Heat (1981)",
    "302": "Sabrina (1995)",
    "303": "Sabrina (1954)",
    "304": "Good, The Bad and The Ugly, The (1966)",
    "305": "Misérables, Les (1995)",
    "306": "Alien (1979)",
    "307": "Alien 3 (1992)",
    "308": "Alien: Resurrection (1997)",
    "309": "Fargo",
    "310": "Matrix, The (1999)",
    "311": "Matrix Reloaded, The (2003)",
    "312": "Thing (1951)",
    "313": "Thing, The (1982)",
}
INDEX = TitleIndex.of(list(ITEMS), list(ITEMS.values()))


def ids(history: str) -> list[str]:
    return [INDEX.item_ids[row] for row in INDEX.rows_of(history)]


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ("1,50", ["1", "50"]),
        ("Toy Story,Star Wars", ["1", "50"]),
        ("toy story (1995) , STAR  WARS", ["1", "50"]),
        ("Usual Suspects, The (1995),Toy Story", ["12", "1"]),
        ("Usual Suspects, The", ["12"]),
        ("the usual suspects", ["12"]),
        ("The Usual Suspects (1995)", ["12"]),
        ("Star Wars, Usual Suspects, The (1995), 1", ["50", "12", "1"]),
        ("Good, The Bad and The Ugly, The (1966), Heat", ["304", "300"]),
        ("Les Miserables", ["305"]),
        ("Sabrina (1954)", ["303"]),
        ("Alien", ["306"]),
        ("Heat", ["300"]),
        ("Usual", ["12"]),
        ("suspects", ["12"]),
        ("Body", ["301"]),
        ("Fargo", ["309"]),
        ("Matrix", ["310"]),
        ("Thing", ["312"]),
        ("The Thing", ["313"]),
        ("Toy Story,,1,", ["1"]),
    ],
)
def test_a_history_names_these_items(history, expected):
    assert ids(history) == expected


def test_a_title_of_several_items_lists_them():
    with pytest.raises(InvalidInput, match="'Sabrina' names 2 items") as caught:
        ids("Toy Story,Sabrina")
    assert caught.value.candidates == ["Sabrina (1995) [id 302]", "Sabrina (1954) [id 303]"]


def test_a_part_of_several_titles_lists_them():
    with pytest.raises(InvalidInput, match="'Alie' names 3 items"):
        ids("Alie")


def test_at_most_five_are_listed():
    index = TitleIndex.of([str(n) for n in range(9)], [f"Rocky {n}" for n in range(9)])
    with pytest.raises(InvalidInput, match="names 9 items") as caught:
        index.rows_of("Rocky")
    assert len(caught.value.candidates) == 5


def test_a_misspelt_title_suggests_the_nearest():
    with pytest.raises(InvalidInput, match=r"'Tou Stroy' is no item's title or id.*Did you mean") as caught:
        ids("Tou Stroy")
    assert caught.value.candidates[0] == "Toy Story (1995) [id 1]"
    assert caught.value.text == "Tou Stroy"


@pytest.mark.parametrize("text", ["zzzzzz", "qq"])
def test_a_title_unlike_any_other_gets_a_hint(text):
    with pytest.raises(InvalidInput, match="Give a title or an id"):
        ids(text)


@pytest.mark.parametrize("history", ["", " , "])
def test_an_empty_history_is_refused(history):
    with pytest.raises(InvalidInput, match="No items are given"):
        ids(history)


def test_the_article_moves_to_the_front():
    assert shortened("Usual Suspects, The (1995)") == "the usual suspects"
    assert shortened("Fargo (1996)") == "fargo"
