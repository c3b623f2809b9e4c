"""Robust merges in whole jobs, of plain updates and of secure sums of groups, also if groups are lost.

The checker's reference deals the same groups and takes the same estimate of their sums.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from models.federation.rounds import plan_round
from tasks.jobs.sum_journal import SumJournal
from tests.faults.conftest import Federation
from tests.faults.rosters import deal, secure
from tests.faults.silence import Silence

CLIENTS = tuple(f"client-{number:02d}" for number in range(12))
MEDIAN = {"method": "median", "group": 3}


@pytest.fixture
def twelve(federation: Federation, tmp_path: Path) -> Federation:
    """Return a federation of twelve clients with two users each."""
    deal(federation, tmp_path / "of-twelve", CLIENTS)
    return federation


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    found = Silence("train-000002")
    found.install(monkeypatch)
    return found


def robust_job(federation: Federation, robust: dict[str, Any], rounds: int = 2) -> Any:
    evaluation = {"every": rounds, "silo_only": False}
    return federation.config(federation={"rounds": rounds, "robust": robust}, evaluation=evaluation)


def group_of(config: Any, client_id: str, round_: int) -> tuple[str, ...]:
    plan = plan_round(round_, seed=config.seed, clients=CLIENTS, cohort_share=1.0, quorum_share=0.5)
    groups = config.federation.robust.groups(plan.cohort, config.seed)
    return next(group for group in groups if client_id in group)


@pytest.mark.parametrize(
    "robust",
    [{"method": "trimmed_mean"}, {"method": "krum", "share": 0.2}, {"method": "norm_bound", "group": 2}],
    ids=lambda robust: str(robust["method"]),
)
def test_a_job_of_plain_updates_merges_their_estimate(twelve: Federation, robust: dict[str, Any]) -> None:
    config = robust_job(twelve, robust, rounds=1)
    twelve.check(config, twelve.run(config), {})


def test_secure_sums_of_groups_give_the_model_of_plain_updates_in_the_same_groups(twelve: Federation) -> None:
    config = secure(robust_job(twelve, MEDIAN))
    result = twelve.run(config)
    # The reference has plain updates.
    twelve.check(config, result, {})
    assert result["final"]["federated"]["loo_hr@10"] > 0
    notes = twelve.journal(result).folder / "sums"
    assert len([*notes.glob("train-000001-group-*-masked.json")]) == 4
    # All members evaluate in one sum.
    assert (notes / "evaluate-000002-masked.json").exists()


def test_a_plain_job_in_the_same_groups_has_the_models_of_the_reference(twelve: Federation) -> None:
    config = robust_job(twelve, MEDIAN)
    twelve.check(config, twelve.run(config), {})


@pytest.mark.parametrize(("method", "stage"), [("mask", "training"), ("agree", "training")])
def test_a_group_that_is_lost_is_missing_with_its_members(
    twelve: Federation, silence: Silence, method: str, stage: str
) -> None:
    config = secure(robust_job(twelve, MEDIAN))
    group = group_of(config, "client-03", 2)
    # A group of three needs all three.
    silence.of = {"client-03": method}
    result = twelve.run(config)
    lost = dict.fromkeys(group, "deadline") | {"client-03": stage}
    twelve.check(config, result, {2: lost})


def test_too_few_groups_stop_the_job_which_continues_with_the_same_sums(
    twelve: Federation, silence: Silence
) -> None:
    config = secure(robust_job(twelve, MEDIAN))
    first = group_of(config, "client-03", 2)
    other = next(each for each in CLIENTS if each not in first)
    silence.of = {"client-03": "mask", other: "mask"}
    result = twelve.run(config)
    assert result["status"] == "stopped"
    assert "median needs at least 3 vectors, and there are 2" in result["stop_reason"]
    twelve.check(config, result, {}, rounds=1)
    silence.of = {}
    result = twelve.run(config)
    twelve.check(config, result, {}, states={"COMPLETED": 1, "FAILED": 1})


def test_a_job_that_ends_between_the_notes_of_two_groups_continues_their_sums(
    twelve: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = secure(robust_job(twelve, MEDIAN))
    note = SumJournal.note_masked
    ends = ["train-000002-group-2"]

    def note_or_end(journal: SumJournal, key: str, updates: Any) -> None:
        if key in ends:
            ends.clear()
            raise ConnectionError("the process ends here")
        note(journal, key, updates)

    monkeypatch.setattr(SumJournal, "note_masked", note_or_end)
    with pytest.raises(ConnectionError):
        twelve.run(config)
    result = twelve.run(config)
    twelve.check(config, result, {}, states={"COMPLETED": 1, "FAILED": 1})
