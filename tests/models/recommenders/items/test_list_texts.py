"""Lists as text, as the programs that write them do."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.recommenders.items.list_texts import entries_of, is_list, number_text

LABELS = st.text(min_size=1).map(str.strip).filter(bool)


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("['Action', 'Science Fiction']", ["Action", "Science Fiction"]),
        ('["Action", "Children\'s"]', ["Action", "Children's"]),
        ("[\"Children's\", 'War']", ["Children's", "War"]),
        ("['Action' 'Science Fiction'\n 'War']", ["Action", "Science Fiction", "War"]),
        ("[Action, Science Fiction]", ["Action", "Science Fiction"]),
        ("[Children's, War]", ["Children's", "War"]),
        ('{Action,"Science Fiction"}', ["Action", "Science Fiction"]),
        ("('Action', 'War')", ["Action", "War"]),
        ("('Action',)", ["Action"]),
        ("[Film (1990), Mission: Impossible]", ["Film (1990)", "Mission: Impossible"]),
        ("['Action']", ["Action"]),
        ("['a, b', 'c|d']", ["a, b", "c|d"]),
        ("[]", []),
        ("[ ]", []),
        ("['', 'War', None, null, nan]", ["War"]),
        ("[,War]", ["War"]),
        ("[28, 12]", ["28", "12"]),
        ("[28 12  7]", ["28", "12", "7"]),
        ("[True, false]", ["true", "false"]),
        (r'["caf\u00e9", "\ud83d\ude00", "a\"b", "tab\tx"]', ["café", "😀", 'a"b', "tab x"]),
        (r"['a\\b', '\x41']", ["a\\b", "A"]),
    ],
)
def test_the_entries_of_a_list_are_found_whoever_wrote_it(text, entries):
    assert is_list(text)
    assert entries_of(text) == entries


@pytest.mark.parametrize(
    "text",
    [
        "[['a'], ['b']]",
        "[{'id': 28, 'name': 'Action'}]",
        "{'id': 28}",
        '{"a": ["b"]}',
        "{id: 28}",
        "['Children's', 'War']",
        "[np.str_('War')]",
        "['unclosed]",
    ],
)
def test_what_is_not_a_flat_list_is_refused(text):
    with pytest.raises(ValueError, match="is n"):
        entries_of(text)


@pytest.mark.parametrize("text", ["Action", "[REC", "REC]", "[", "", "(a]"])
def test_other_texts_are_not_lists(text):
    assert not is_list(text)


@given(st.lists(LABELS))
def test_json_s_and_python_s_own_lists_are_read_back(labels):
    plain = [label for label in labels if not set(label) & set("\n\r\t")]
    assert entries_of(json.dumps(plain)) == plain
    printable = [label for label in plain if label.isprintable()]
    assert entries_of(str(printable)) == printable


@given(st.lists(st.sampled_from(["Action", "Science Fiction", "Children's", "a, b", "[x]"]), min_size=1))
def test_numpy_s_own_lists_are_read_back(labels):
    assert entries_of(str(np.array(labels, dtype=object))) == labels


def test_whole_numbers_are_labels_without_a_point():
    assert [number_text(number) for number in (28.0, -3.0, 0.5, 1e20)] == [
        "28",
        "-3",
        "0.5",
        "100000000000000000000",
    ]
