"""A study proposes the same trials whether or not it was interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.errors import JobBusy
from tasks.tuning.study import Study, opened_study

SPACE: dict[str, dict[str, Any]] = {
    "rate": {"choices": [], "low": 0.01, "high": 1.0, "log": True},
    "dims": {"choices": [4, 8], "low": None, "high": None, "log": False},
}
FIRST = {"rate": 0.5, "dims": 16}


def value_of(values: dict[str, Any]) -> float:
    """Return the objective, which is best at a rate of 0.1 with 8 dims."""
    return values["dims"] - abs(values["rate"] - 0.1)


def carried_on(study: Study, trials: int) -> list[dict[str, Any]]:
    while len(study.done) < trials:
        proposal = study.propose()
        assert proposal.number == len(study.done)
        study.finish(value_of(proposal.values), {"epochs": 3})
    return study.done


def test_an_interrupted_search_continues_as_if_uninterrupted(tmp_path: Path) -> None:
    with opened_study(tmp_path / "whole", 1, SPACE, FIRST) as study:
        whole = carried_on(study, 14)
    with opened_study(tmp_path / "parts", 1, SPACE, FIRST) as study:
        carried_on(study, 5)
        study.propose()  # and then its process dies
    with opened_study(tmp_path / "parts", 1, SPACE, FIRST) as study:
        assert len(study.done) == 5
        parts = carried_on(study, 14)
    assert parts == whole
    assert len({trial["values"]["rate"] for trial in whole}) == 14


def test_the_first_trial_is_the_configuration_as_far_as_the_space_contains_it(tmp_path: Path) -> None:
    with opened_study(tmp_path / "study", 1, SPACE, FIRST) as study:
        values = study.propose().values
    assert values["rate"] == 0.5
    assert values["dims"] in (4, 8)  # 16 is not among the choices


def test_a_setting_is_proposed_from_its_own_values_and_the_objectives_alone(tmp_path: Path) -> None:
    # "a" is drawn before "b". Where the sampler models settings jointly, what "b" is changes "a".
    a = {"choices": [], "low": 0.0, "high": 1.0, "log": False}
    ranges = [
        {"choices": [], "low": 0.0, "high": 1.0, "log": False},
        {"choices": ["x", "y"], "low": None, "high": None, "log": False},
    ]
    proposed: list[list[float]] = []
    for number, b in enumerate(ranges):
        with opened_study(tmp_path / str(number), 1, {"a": a, "b": b}, {}) as study:
            for _ in range(20):
                value = study.propose().values["a"]
                study.finish(-abs(value - 0.3), {})
            proposed.append([trial["values"]["a"] for trial in study.done])
    assert proposed[0] == proposed[1]


def test_the_best_trial_is_the_one_with_the_highest_objective(tmp_path: Path) -> None:
    with opened_study(tmp_path / "study", 1, SPACE, FIRST) as study:
        assert study.best is None
        for objective in (0.5, 0.75, None, 0.25):
            study.propose()
            study.finish(objective, {"epochs": 7})
        assert [trial["objective"] for trial in study.done] == [0.5, 0.75, None, 0.25]
        assert study.best is not None
        assert (study.best["trial"], study.best["objective"], study.best["epochs"]) == (1, 0.75, 7)


def test_a_trial_far_below_the_others_is_stopped(tmp_path: Path) -> None:
    with opened_study(tmp_path / "study", 1, SPACE, FIRST) as study:
        for number in range(12):
            study.propose()
            assert study.report(10, 0.5 + number / 100)
            study.finish(0.5, {})
        study.propose()
        assert not study.report(10, 0.1)


def test_two_processes_cannot_work_on_one_study(tmp_path: Path) -> None:
    with (
        opened_study(tmp_path / "study", 1, SPACE, FIRST),
        pytest.raises(JobBusy, match="Another process is working on the study"),
        opened_study(tmp_path / "study", 1, SPACE, FIRST),
    ):
        pass
