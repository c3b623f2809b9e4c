"""Flower's environment and what runs in it, without Flower: it is installed by measurements only."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from models.errors import FedrecError, SourceUnavailable
from tasks.bench.overhead.flower import PACKAGE, FlowerCase, flower_python, row_of_seconds, run_with_flower


def test_flowers_first_round_does_not_decide_its_round():
    row = row_of_seconds(FlowerCase(10, 5, 500), [9.0, 0.3, 0.1, 0.2, 0.25])
    assert (row["round_s"], row["first_round_s"]) == (0.25, 9.0)


def test_without_a_package_index_flower_is_unavailable(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    with (
        pytest.raises(SourceUnavailable, match="leave out --flower"),
        flower_python(tmp_path, PACKAGE, lambda line: None),
    ):
        pass
    assert list(tmp_path.glob("flower-*")) == []


def test_a_script_gets_its_numbers_and_the_file_to_write(tmp_path):
    text = "import json, sys; json.dump(sys.argv[1:-1], open(sys.argv[-1], 'w'))"
    assert _run(tmp_path, text) == ["3", "7"]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("raise SystemExit('no sum')", "failed: no sum"),
        ("", "failed"),
        ("import time; time.sleep(600)", "ended after 1 s"),
    ],
)
def test_a_script_that_fails_or_writes_nothing_or_does_not_end_is_an_error(tmp_path, text, says):
    with pytest.raises(FedrecError, match=rf"Flower \(script\.py\) .*{says}"):
        _run(tmp_path, text)


def _run(folder: Path, text: str) -> object:
    script = folder / "script.py"
    script.write_text(text)
    return run_with_flower(Path(sys.executable), script, (3, 7), timeout_s=1.0 if "sleep" in text else 60.0)
