"""An interrupted benchmark continues with what it has measured."""

from __future__ import annotations

import pytest

from tasks.bench.overhead.kept_results import KeptResults


def test_a_repeated_run_finds_the_results_of_the_interrupted_one(tmp_path):
    path = tmp_path / "kept.json"
    KeptResults.of(path, {"code": "a"}).keep("few", {"job_s": 1.5})
    again = KeptResults.of(path, {"code": "a"})
    assert again.found == {"few": {"job_s": 1.5}}
    again.keep("many", {"job_s": 2.5})
    assert list(KeptResults.of(path, {"code": "a"}).found) == ["few", "many"]


def test_results_of_other_code_are_not_used(tmp_path):
    path = tmp_path / "kept.json"
    KeptResults.of(path, {"code": "a"}).keep("few", 1)
    assert KeptResults.of(path, {"code": "b"}).found == {}


@pytest.mark.parametrize("text", ["", "[]", "{", '{"key": {}}', '{"key": {}, "found": 3}'])
def test_a_damaged_file_starts_anew(tmp_path, text):
    path = tmp_path / "kept.json"
    path.write_text(text)
    assert KeptResults.of(path, {}).found == {}


def test_a_complete_run_leaves_nothing(tmp_path):
    kept = KeptResults.of(tmp_path / "kept.json", {})
    kept.keep("few", 1)
    kept.forget()
    assert list(tmp_path.iterdir()) == []
