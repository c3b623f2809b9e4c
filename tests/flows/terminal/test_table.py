"""Tables in the terminal: whatever its width, all that they say can be read and copied."""

from __future__ import annotations

import re

import pytest

from flows.terminal.table import Column, print_table

COLUMNS = (
    Column("job"),
    Column("bytes", is_number=True),
    Column("sha256"),
    Column("reason", wraps=True),
)
JOB, NUMBER, HEAD = "a-job-of-some-length-0123abcd-1", "4,123,456,789", "0123456789abcdef" * 4
REASON = "better on every metric of the test split, agreed with the owners of all silos " * 3
ROWS = ((JOB, NUMBER, HEAD, REASON), ("b", "1", "f" * 64, ""))


@pytest.fixture
def printed(capsys, monkeypatch):
    """Return a function that prints rows to a terminal of a width, or to a pipe, and returns the lines."""

    def lines(width: int, rows=ROWS, *, is_terminal: bool = True) -> list[str]:
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.delenv("FORCE_COLOR", raising=False)
        if is_terminal:
            monkeypatch.setenv("FORCE_COLOR", "1")
        print_table(COLUMNS, rows)
        return re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out).splitlines()

    return lines


@pytest.mark.parametrize("width", [20, 80, 150, 500])
def test_a_terminal_of_any_width_shows_ids_and_numbers_whole(printed, width):
    lines = printed(width)
    for cell in (JOB, NUMBER, HEAD, "f" * 64):
        assert any(cell in line for line in lines)
    words = " ".join(" ".join(lines).split())
    assert all(word in words for word in REASON.split())
    assert "…" not in words


def test_a_table_that_fits_keeps_to_the_terminal(printed):
    lines = printed(150)
    assert max(map(len, lines)) <= 150
    assert [line for line in lines if JOB in line and NUMBER in line and HEAD in line]


def test_a_narrow_terminal_shows_each_cell_beside_its_heading(printed):
    lines = printed(80)
    assert f"job     {JOB}" in lines
    assert f"bytes   {NUMBER}" in lines
    assert f"sha256  {HEAD}" in lines
    assert [line for line in lines if line.startswith("reason")] == [f"reason  {REASON}"]


def test_a_pipe_gets_one_line_for_each_row(printed):
    lines = printed(80, is_terminal=False)
    (row,) = [line for line in lines if JOB in line]
    assert NUMBER in row
    assert HEAD in row
    assert REASON.strip() in row
    assert "\x1b" not in "".join(lines)


def test_a_pipe_s_other_lines_are_as_long_as_what_they_say(printed):
    lines = printed(80, is_terminal=False)
    assert all(line == line.rstrip() for line in lines)
    (short,) = [line for line in lines if "f" * 64 in line]
    # The columns before the reason, which this row lacks.
    widths = len(JOB) + len(NUMBER) + len("f" * 64)
    assert len(short) == widths + len("  ") + 2 * len("   ")
    assert sum(len(line) > len(short) + len("   reason") for line in lines) == 1


@pytest.mark.parametrize("is_terminal", [True, False])
def test_text_of_others_moves_no_cursor_and_is_no_markup(printed, is_terminal):
    lines = printed(80, [("a\x1b[2Jb\nc", "1", "[red]x[/red]", "\\")], is_terminal=is_terminal)
    text = "\n".join(lines)
    assert r"a\x1b[2Jb\nc" in text
    assert "[red]x[/red]" in text
