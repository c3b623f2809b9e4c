"""The tables and the picture of a known result."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from models.errors import InvalidInput
from tasks.bench.overhead.markdown import BEGIN, END, overhead_tables, put_overhead, require_place
from tasks.bench.overhead.picture import picture
from tests.worlds.documents import with_table_replaced

PARTS = {
    "startup": 10.0,
    "train": 2.0,
    "merge": 1.0,
    "contracts": 3.0,
    "evaluate": 0.0,
    "tracking": 1.5,
    "report": 2.5,
    "rest": 20.0,
}
ROW = {
    "clients": 943,
    "rounds": 5,
    "items": 1682,
    "load": 0.25,
    "bare_s": 4.0,
    "job_s": 40.0,
    "startup_s": 10.0,
    "after_startup_s": 30.0,
    "ratio": 7.5,
    "round_s": 1.2,
    "bare_round_s": 0.8,
    "round_overhead_s": 0.4,
    "bare_cpu_s": 3.9,
    "job_cpu_s": 55.0,
    "peak_rss_mb": 1234.5,
    "parts_s": PARTS,
}
THEN = ROW | {"revision": "abc12345", "job_s": 80.0, "parts_s": PARTS | {"rest": 60.0}}
FAILED = {"clients": 10_000, "rounds": 3, "items": 20_000, "load": 0.5, "failed": "The disk is full."}
RESULT = {
    "cpus": 2,
    "rows": [ROW, FAILED],
    "previous": [THEN, FAILED | {"revision": "abc12345"}],
    "against": {"commit": "abc12345" * 5, "same_lock": True},
    "flower": [{"clients": 943, "round_s": 18.0, "first_round_s": 22.0, "requirement": "flwr==1"}],
}


def test_the_tables_show_every_row():
    lines = overhead_tables(RESULT).splitlines()
    after = "10.0 | 30.0 | 7.5 | 1.200 | 0.800 | 0.400 | 3.9 | 55.0 | 1,234"
    assert f"| 943 | 5 | 1,682 | 4.00 | 40.0 | {after} | 0.2 |" in lines
    # Half of the previous command's 80 s.
    assert f"| 943 | 5 | 1,682 | 4.00 | 80.0 | {after} | 0.50 |" in lines
    assert "| 10,000 | 3 | 20,000 | failed |  |  |  |  |  |  |  |  |  |  | 0.5 |" in lines
    # 18 / 0.4
    assert "| 943 | 22.00 | 18.00 | 0.400 | 45.0 |" in lines


def test_all_lines_of_a_table_have_the_same_number_of_cells():
    tables = [part.splitlines() for part in overhead_tables(RESULT).split("\n\n") if part.startswith("|")]
    assert [len(lines) for lines in tables] == [4, 4, 3]
    for lines in tables:
        assert len({line.count("|") for line in lines}) == 1


def test_the_tables_replace_those_of_the_document_and_the_picture_lies_beside_it(tmp_path):
    document = tmp_path / "overhead.md"
    text = with_table_replaced(document, BEGIN, END, lambda path: put_overhead(path, RESULT))
    assert "](images/overhead.svg)" in text
    assert (tmp_path / "images" / "overhead.svg").read_text() == picture(RESULT)


def test_a_document_without_a_place_is_refused(tmp_path):
    (tmp_path / "overhead.md").write_text("no marks")
    with pytest.raises(InvalidInput, match="lacks the marks"):
        require_place(tmp_path / "overhead.md")


def test_the_picture_draws_each_bar_to_the_scale_of_its_row():
    root = ElementTree.fromstring(picture(RESULT))  # noqa: S314  # our own picture
    name = "{http://www.w3.org/2000/svg}"
    bars: dict[float, float] = {}
    for each in root.iter(f"{name}rect"):
        if each.get("height") == "16":
            y = float(each.attrib["y"])
            bars[y] = bars.get(y, 0.0) + float(each.attrib["width"])
    # The bare loop's 4 s, 40 s now and 80 s then; the failed row has no bars.
    now, then = sum(PARTS.values()), sum(PARTS.values()) + 40.0
    assert list(bars.values()) == pytest.approx([620 * 4 / then, 620 * now / then, 620.0], abs=0.5)
    texts = [each.text for each in root.iter(f"{name}text")]
    assert "943 clients, 5 rounds, 1,682 items" in texts
    assert "80.0 s" in texts
    assert root.find(f"{name}title") is not None
