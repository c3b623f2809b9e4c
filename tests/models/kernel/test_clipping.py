"""Texts of any length become short in messages, and ordinary ones stay whole."""

from __future__ import annotations

import pytest

from models.kernel.clipping import clipped, without_long_words


@pytest.mark.parametrize("text", ["", "a", "x" * 80, "Ü" * 80])
def test_a_short_text_stays_whole(text):
    assert clipped(text) == text


def test_a_long_text_gives_its_beginning_and_its_length():
    assert clipped("ab" * 50_000, 5) == "ababa… (100,000 characters)"
    assert clipped("x" * 81) == "x" * 80 + "… (81 characters)"


def test_only_long_words_of_a_message_are_clipped():
    path = "/" + "a" * 299
    words = f"No item {'y' * 301!r} in {path}, {'z' * 5000}."

    short = without_long_words(words)

    assert short == f"No item '{'y' * 80}… (301 characters)' in {path}, {'z' * 80}… (5,001 characters)"
    assert without_long_words(f"see {path} twice") == f"see {path} twice"
