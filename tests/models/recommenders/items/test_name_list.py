"""A list is split where most of it names something, compared with trying every way to split it."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.recommenders.items.name_list import split_names

PIECES = ["a", "b", "c", "a b"]
NAMES = ["a", "b", "a b", "a,b", "b,c", "c,a,b", "a b,c"]


def tried(pieces: list[str], names: set[str]) -> tuple[int, int]:
    """Return the least number of pieces without a name and of names, over all ways to split the pieces."""
    best = (len(pieces) + 1, 0)
    for cuts in product((False, True), repeat=len(pieces) - 1):
        runs, run = [], [pieces[0]]
        for cut, piece in zip(cuts, pieces[1:], strict=True):
            if cut:
                runs.append(run)
                run = []
            run.append(piece)
        runs.append(run)
        nameless = [run for run in runs if ",".join(run) not in names]
        if all(len(run) == 1 for run in nameless):
            best = min(best, (len(nameless), len(runs)))
    return best


@given(st.lists(st.sampled_from(PIECES), min_size=1, max_size=6), st.sets(st.sampled_from(NAMES)))
def test_no_other_way_to_split_names_more(pieces, names):
    found = split_names(",".join(pieces), lambda text: [0] * (text in names), lambda text: [], 2)

    assert ",".join(found) == ",".join(pieces)
    nameless = [text for text in found if text not in names]
    assert (len(nameless), len(found)) == tried(pieces, names)
    assert not [text for text in nameless if "," in text]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, b ,c", ["a", "b", "c"]),
        (",,a,, ,b,", ["a", "b"]),
        ("a,,b", ["a", "b"]),
        ("", []),
        (" , ", []),
        # Of two equally good ways, the one with the longest first name.
        ("x,y,z", ["x,y", "z"]),
        # A part of a title is better than no name, and worse than a whole one.
        ("part, of,a", ["part, of", "a"]),
        ("a,part", ["a", "part"]),
        # A number beside unknown words.
        ("7,b,0 Leagues,a", ["7", "b", "0 Leagues", "a"]),
        ("7,000 Leagues,a", ["7,000 Leagues", "a"]),
        ("7, Rue Morgue, 7,a", ["7, Rue Morgue, 7", "a"]),
        ("7,Rue Morgue", ["7", "Rue Morgue"]),
        ("7, Rue", ["7", "Rue"]),
        ("7, 8, 9000", ["7", "8", "9000"]),
    ],
)
def test_a_list_is_split_into_names(text, expected):
    names = {"a", "b", "c", "x", "z", "x,y", "y,z", "7", "8"}

    found = split_names(
        text, lambda name: [0] * (name in names), lambda part: [1] * (part in {"part, of", "part"}), 2
    )

    assert found == expected
