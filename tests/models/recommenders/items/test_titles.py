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


@pytest.mark.parametrize("text", ["a-3b", "A-3B", " a-3b"])
def test_an_id_in_other_letters_is_suggested_first(text):
    index = TitleIndex.of(["A-393b", "A-3b", "A-30b"], ["Jug", "Mug", "Cup"])
    with pytest.raises(InvalidInput, match="Did you mean") as caught:
        index.rows_of(text)
    assert caught.value.candidates[0] == "Mug [id A-3b]"


@pytest.mark.parametrize("text", ["zzzzzz", "qq"])
def test_a_title_unlike_any_other_gets_a_hint(text):
    with pytest.raises(InvalidInput, match="Give a title or an id"):
        ids(text)


def test_a_part_of_digits_alone_is_no_name_and_its_titles_are_suggested():
    index = TitleIndex.of(["7", "8"], ["2001: A Space Odyssey (1968)", "Fargo (1996)"])
    with pytest.raises(InvalidInput, match="'2001' is no item's title or id") as caught:
        index.rows_of("2001")
    assert caught.value.candidates == ["2001: A Space Odyssey (1968) [id 7]"]


# Ids that are numbers within titles, ids that need their commas and blanks, and titles with commas.
ODD = {
    "1": "20,000 Leagues Under the Sea (1954)",
    "2": "Crouching Tiger, Hidden Dragon (2000)",
    "3": "Hidden Dragon (1982)",
    "20": "Film of id 20",
    "000": "Film of id 000",
    "300": "Air Force One (1997)",
    "400": "300 (2006)",
    "401": "1984 (1984)",
    "402": "1,2,3, Soleil (1993)",
    "a,b": "Third",
    " lead": "Fourth",
    "lead": "Fifth",
    "caf\u0065\u0301": "Sixth",  # decomposed
    "q1": '"Great Performances" Cats (1998)',
    "q2": "Schindler\u2019s List (1993)",
    "q3": "Am\u00e9lie (2001)",
    "q4": "Stra\u00dfe, Die (1954)",
    "q5": "It (1990)",
    "q6": "IT (1990)",
    "q7": "Twice (2000)",
    "q8": "Twice (2000)",
}
ODD_INDEX = TitleIndex.of(list(ODD), list(ODD.values()))


@pytest.mark.parametrize(
    ("history", "expected"),
    [
        ("20,000 Leagues Under the Sea (1954)", ["1"]),
        ("20,000 leagues under the sea", ["1"]),
        ("20, 000 Leagues Under the Sea", ["1"]),
        ("20,000 Leagues", ["1"]),
        ("20,000 Leagues,20", ["1", "20"]),
        ("20,20,000 Leagues Under the Sea,300", ["20", "1", "300"]),
        ("20,000", ["20", "000"]),  # both are ids
        ("20,300", ["20", "300"]),
        ("Crouching Tiger, Hidden Dragon", ["2"]),
        ("Crouching Tiger,Hidden Dragon (2000),Third", ["2", "a,b"]),
        ("Hidden Dragon, Crouching Tiger, Hidden Dragon", ["3", "2"]),
        ("Crouching Tiger, Hidden", ["2"]),
        ("300", ["300"]),  # an id comes before a title
        ("300 (2006)", ["400"]),
        ("300 (2006) [id 400]", ["400"]),
        ("1984", ["401"]),
        ("1984 (1984), 300", ["401", "300"]),
        ("1,2,3, Soleil", ["402"]),
        ("1,2,3", ["1", "2", "3"]),
        ("a,b", ["a,b"]),
        ("20,a,b,Third", ["20", "a,b"]),
        (" lead", [" lead"]),
        ("lead", ["lead"]),
        ("20, lead", ["20", "lead"]),
        ("caf\u00e9", ["caf\u0065\u0301"]),
        ("20,caf\u0065\u0301", ["20", "caf\u0065\u0301"]),
        ('"Great Performances" Cats', ["q1"]),
        ('"20,000 Leagues Under the Sea","Third"', ["1", "a,b"]),
        ("\u201cCrouching Tiger, Hidden Dragon\u201d,'20'", ["2", "20"]),
        ("Schindler's List", ["q2"]),
        ("Ame\u0301lie,AM\u00c9LIE (2001)", ["q3"]),
        ("die strasse", ["q4"]),
        ("STRASSE, DIE", ["q4"]),
        ("It (1990)", ["q5"]),
        ("IT (1990)", ["q6"]),
        ("Twice (2000) [id q8]", ["q8"]),
        ("[id q7], [id a,b]", ["q7", "a,b"]),
    ],
)
def test_names_with_commas_digits_quotes_and_accents(history, expected):
    assert [ODD_INDEX.item_ids[row] for row in ODD_INDEX.rows_of(history)] == expected


@pytest.mark.parametrize(
    ("history", "unknown"),
    [
        ("20,000 Leages Undr the Sea", "20,000 Leages Undr the Sea"),
        ("Third,20,000BC,lead", "20,000BC"),
        ("20, Rue Morgue", "20, Rue Morgue"),
        ("1, 2, 3, Moon Walk", "1, 2, 3, Moon Walk"),
        ("Catch Them, 20", "Catch Them, 20"),
    ],
)
def test_a_number_beside_words_that_name_nothing_is_not_an_id(history, unknown):
    with pytest.raises(InvalidInput, match="is no item's title or id") as caught:
        ODD_INDEX.rows_of(history)
    assert caught.value.text == unknown


@pytest.mark.parametrize("name", ["Twice", "it"])
def test_equal_titles_are_listed_with_their_ids(name):
    with pytest.raises(InvalidInput, match="names 2 items") as caught:
        ODD_INDEX.rows_of(name)
    assert [label.rpartition(" ")[2] for label in caught.value.candidates] in (["q7]", "q8]"], ["q5]", "q6]"])


def test_what_is_known_is_found_and_the_rest_is_listed():
    found = ODD_INDEX.named("20,99999,Third,Hidden Dragn", ["a,b", "no, such"])

    assert [ODD_INDEX.item_ids[row] for row in found.rows] == ["20", "a,b"]
    assert found.unknown == ("99999", "Hidden Dragn", "no, such")
    assert "'Hidden Dragn' is no item's title or id. It is left out. Did you mean: " in found.notes[1]
    assert "Hidden Dragon (1982) [id 3]" in found.notes[1]


def test_a_comma_without_a_blank_separates_a_number_from_unknown_words():
    found = ODD_INDEX.named("20,No Such Film,99999,Nor This")

    assert [ODD_INDEX.item_ids[row] for row in found.rows] == ["20"]
    assert found.unknown == ("No Such Film", "99999", "Nor This")


def test_a_single_name_is_taken_literally():
    found = ODD_INDEX.named("", ["20,000 Leagues Under the Sea", " lead", "20,300", "Crouching"])

    assert [ODD_INDEX.item_ids[row] for row in found.rows] == ["1", " lead"]
    assert found.unknown == ("20,300", "Crouching")


def test_an_id_that_is_also_a_title_is_pointed_out():
    found = ODD_INDEX.named("300")

    assert found.notes == (
        "'300' is the id of 'Air Force One (1997)'. It is also a title: 300 (2006) [id 400].",
    )
    assert ODD_INDEX.named("20").notes == ()


def test_ids_that_differ_only_in_their_unicode_form_are_listed():
    index = TitleIndex.of(["\u0065\u0301a\u030a", "\u0065\u0301\u00e5"], ["One", "Two"])
    with pytest.raises(InvalidInput, match="names 2 items"):
        index.rows_of("\u00e9\u00e5")


def test_a_history_without_known_items_is_refused():
    assert ODD_INDEX.require_known(ODD_INDEX.named("20")).rows == (3,)
    with pytest.raises(InvalidInput, match="'zzzz' is no item's title or id"):
        ODD_INDEX.require_known(ODD_INDEX.named("zzzz,yyyy"))


def test_a_long_list_is_split_in_time():
    ids = [f"i{number}" for number in range(2000)]
    index = TitleIndex.of(ids, [f"Film {number}, The" for number in range(2000)])

    assert index.rows_of(",".join(ids)) == list(range(2000))
    assert index.rows_of(", ".join(f"film {number}, the" for number in range(2000))) == list(range(2000))


@pytest.mark.parametrize("history", ["", " , "])
def test_an_empty_history_is_refused(history):
    with pytest.raises(InvalidInput, match="No items are given"):
        ids(history)


def test_the_article_moves_to_the_front():
    assert shortened("Usual Suspects, The (1995)") == "the usual suspects"
    assert shortened("Fargo (1996)") == "fargo"
