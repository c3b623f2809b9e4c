"""Records are read back as written, also those of older jobs. Anything else is refused by name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from models.errors import CorruptArtifact
from models.federation.client_drift import ClientDrift
from models.federation.rounds import Rejection
from models.kernel.metric import Metric
from models.ledger.head import Head
from models.promotion.evidence import RoundEvaluation
from tasks.jobs.journal import Journal
from tasks.messages.earlier_training import EarlierJob, EarlierTraining, SplitFacts
from tasks.messages.job_opening import EarlierState, JobOpening
from tasks.messages.job_result import BestRound, ContractSummary, FinalMetrics, JobResult, LeftOut
from tasks.messages.late_update import LateUpdate
from tasks.messages.outbox_messages import (
    BreachMessage,
    LineageMessage,
    OpeningMessage,
    OutboxMessage,
    ResultMessage,
    RoundMessage,
    message_of_json,
    message_to_json,
)
from tasks.messages.record import Record
from tasks.messages.round_record import (
    START_TRACKED,
    EvaluatedRound,
    RoundRecord,
    TrackedRound,
    record_digest,
)
from tests.worlds.records import (
    CONFIG,
    client_result,
    evaluation,
    job_result,
    late_update,
    opening,
    round_record,
    round_result,
)

ROUND = round_record(
    2,
    "ash",
    "birch",
    rejected=(Rejection("cedar", "update", "its norm is 7, at most 2 is allowed"),),
    contracts={"interactions": "passed", "updates": "breached", "embeddings": "passed"},
    training={"loss": Metric(1.5, 4.0)},
    lease=3,
    update_bytes=2000,
    drift=0.25,
    client_drift={"ash": ClientDrift(0.5, 0.75), "birch": ClientDrift(0.5, -0.25)},
    egress={"ash": Head(7, "e" * 64)},
    earlier=EarlierTraining(
        30, None, (EarlierJob("films-0", None), EarlierJob("films-1", SplitFacts("d" * 64, 1)))
    ),
    evaluation_seed=0,
)
EVALUATED = ROUND.with_evaluation(evaluation(ash=(1.0, 4.0), birch=(2.0, 3.0)))
NOTE = TrackedRound(
    version=4, metrics={"validation/ndcg@10": 0.5}, evaluation=EVALUATED.evaluation, seconds={"total": 2.5}
)
RESULT = job_result(
    rounds=(round_result(1), round_result(2, rejected=ROUND.rejected, client_drift=ROUND.client_drift)),
    late=(late_update(2, "cedar"),),
    final=FinalMetrics(federated={"ndcg@10": 0.5}),
    clients=(client_result("ash", 0.5, None, federated={"ndcg@10": 0.5}),),
    contracts=(ContractSummary("updates", "round-2", False, "1 of 5 expectations broken"),),
    best=BestRound(round=1, version=1, metric="ndcg@10", value=0.25, last_value=0.125),
    earlier=EarlierTraining(30, 31),
    left_out=LeftOut(validation=1, validation_cases=4, test=2, test_cases=4),
)
RECORDS: list[Record] = [
    ROUND,
    round_record(0),
    EVALUATED,
    ROUND.with_evaluation(None),
    NOTE,
    START_TRACKED,
    opening(starting_points={"ash": EarlierState("old-1", 12)}),
    RESULT,
    late_update(2, "cedar"),
]
MESSAGES: list[OutboxMessage] = [
    OpeningMessage(config=CONFIG),
    LineageMessage(data={"ash": ("a" * 64, "file:///ash")}),
    RoundMessage(record=EVALUATED, metrics={"drift": 0.25}, note=NOTE),
    BreachMessage(round=3, subject="round-3", text='{"passed": false}'),
    ResultMessage(result=RESULT, metrics={"test/x": 1.0}, tables={"t.json": [{"id": "ash", "n": None}]}),
]


def through_a_file(value: object) -> Any:
    return json.loads(json.dumps(value, allow_nan=False))


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: type(each).__name__)
def test_a_record_is_read_back_as_written(record: Record) -> None:
    written = through_a_file(record.to_json())
    assert written["format"] == 1
    assert type(record).of_json(written, "the file") == record


@pytest.mark.parametrize("message", MESSAGES, ids=lambda each: each.kind)
def test_a_message_is_read_back_as_written(message: OutboxMessage) -> None:
    assert message_of_json(through_a_file(message_to_json(message)), "the file") == message


# The layout of jobs before records had types.
OLD_OPENING = {
    "config": {"name": "films", "model_name": "movies", "train": {"family": "ials"}, "runner": {"exchange": "s3://x"}},
    "data_digest": "d" * 64,
    "git_revision": "abc",
    "opened_at": "2026-11-20T09:00:00.000+00:00",
    "starting_points": {"ash": {"job_id": "old-1", "round": 12}},
}  # fmt: skip
OLD_START = {
    "format": 1,
    "job_id": "films-kkkkkkkk-1",
    "round": 0,
    "model_path": "films-kkkkkkkk-1/models/s",
    "model_sha256": "a" * 64,
    "model_bytes": 10,
    "base_sha256": None,
    "catalog_digest": "c" * 64,
    "data_digest": "d" * 64,
    "accepted": [],
    "rejected": [],
    "contracts": {},
    "training": {},
    "lease": 1,
    "committed_at": "2026-11-20T09:00:01.000+00:00",
}
OLD_ROUND = OLD_START | {
    "round": 1,
    "base_sha256": "a" * 64,
    "accepted": ["ash"],
    "rejected": [{"client_id": "birch", "stage": "deadline", "reason": "nothing within 5 s"}],
    "contracts": {"interactions": "passed", "updates": "passed", "embeddings": "breached"},
    "training": {"loss": {"total": 3.0, "weight": 4.0}},
    "update_bytes": 1000,
    "drift": 0.5,
    "client_drift": {"ash": {"norm": 1.0, "cosine": 1.0}},
    "egress": {"ash": {"count": 2, "sha256": "e" * 64}},
}
OLD_EVALUATION = {
    "split": "validation",
    "metrics": {"ndcg@10": {"total": 1.0, "weight": 4.0}},
    "clients": {"ash": {"ndcg@10": {"total": 1.0, "weight": 4.0}}},
}
OLD_NOTE = {
    "version": 3,
    "metrics": {"training/loss": 0.75},
    "evaluation": OLD_EVALUATION,
    "seconds": {"train": 1.0, "total": 2.0},
}
OLD_LATE = {
    "round": 1,
    "client_id": "birch",
    "stage": "late",
    "reason": "its update came at most 1.0 s after its round was over",
    "seconds_late": 1.0,
    "sha256": "b" * 64,
    "answer_sha256": "c" * 64,
    "seen_at": "2026-11-20T09:00:02.000+00:00",
}
OLD_RESULT = {
    "job_id": "films-kkkkkkkk-1",
    "run_id": None,
    "flow_run_id": "flow-1",
    "model_name": "movies",
    "model_sha256": "a" * 64,
    "report": "report",
    "seed": 7,
    "status": "stopped",
    "stop_reason": "Round 2 got 0 usable updates.",
    "config": OLD_OPENING["config"],
    "data": {"digest": "d" * 64, "clients": 2, "users": 9, "items": 50, "interactions": 120},
    "rounds": [
        {
            "round": 1,
            "version": None,
            "accepted": ["ash"],
            "rejected": OLD_ROUND["rejected"],
            "metrics": {},
            "model_sha256": "a" * 64,
            "seconds": {},
            "drift": 0.5,
            "client_drift": {"ash": {"norm": 1.0, "cosine": 1.0}},
            "update_bytes": 1000,
        }
    ],
    "late": [OLD_LATE],
    "final": {"federated": None, "centralised": None, "silo_only": None},
    "clients": [],
    "contracts": [{"contract": "updates", "subject": "round-1", "passed": True, "summary": "all hold"}],
    "timings": {
        **dict.fromkeys(("startup_s", "train_s", "merge_s", "contracts_s", "tracking_s", "evaluate_s"), 1.0),
        **{"total_s": 8.0, "baselines_s": 0.0, "report_s": 1.0, "orchestration_s": 1.0},
        **{"training_cpu_s": 0.5, "overhead_ratio": 14.0, "transfer_s": 0.0, "polling_s": 0.0},
    },
}


@pytest.fixture
def old(tmp_path: Path) -> Journal:
    """Return the folder of a job from before its records had types and, except rounds, a format."""
    files: dict[str, object] = {
        "job.json": OLD_OPENING,
        "rounds/000000.json": OLD_START,
        "rounds/000001.json": OLD_ROUND,
        "tracked/000000.json": {},
        "tracked/000001.json": OLD_NOTE,
        "late/000001.birch.json": OLD_LATE,
        "result.json": OLD_RESULT,
    }
    for name, value in files.items():
        path = tmp_path / "films-kkkkkkkk-1" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=1, sort_keys=True))
    return Journal(tmp_path / "films-kkkkkkkk-1")


def test_an_old_journal_is_read(old: Journal) -> None:
    found = old.opening
    assert (found.name, found.model_name, found.family) == ("films", "movies", "ials")
    assert found.exchange_url == "s3://x"
    assert found.starting_points == {"ash": EarlierState("old-1", 12)}
    start, first = old.committed()
    assert (start.round, start.base_sha256, start.drift, start.egress) == (0, None, None, None)
    assert first.accepted == ("ash",)
    assert first.rejected == (Rejection("birch", "deadline", "nothing within 5 s"),)
    assert first.training == {"loss": Metric(3.0, 4.0)}
    assert first.client_drift == {"ash": ClientDrift(1.0, 1.0)}
    assert first.egress == {"ash": Head(2, "e" * 64)}
    assert old.tracked(0) == START_TRACKED
    note = old.tracked(1)
    assert note is not None
    assert (note.version, note.seconds["total"]) == (3, 2.0)
    sums = {"ndcg@10": Metric(1.0, 4.0)}
    assert note.evaluation == RoundEvaluation("validation", sums, {"ash": sums})
    assert [(each.round, each.client_id, each.seconds_late) for each in old.late()] == [(1, "birch", 1.0)]
    result = old.result()
    assert result is not None
    assert (result.status, result.run_id, result.rounds[0].drift) == ("stopped", None, 0.5)
    assert (result.late, result.timings.total_s) == (tuple(old.late()), 8.0)


def test_an_old_record_is_written_unchanged() -> None:
    for layout in (OLD_START, OLD_ROUND):
        assert RoundRecord.of_json(layout, "the file").to_json() == layout
    assert TrackedRound.of_json(OLD_NOTE, "the file").to_json() == OLD_NOTE | {"format": 1}
    late = OLD_RESULT | {"late": [OLD_LATE | {"format": 1}], "format": 1}
    late["timings"] = OLD_RESULT["timings"] | {"tracking_beside_s": 0.0}
    late["data"] = OLD_RESULT["data"] | dict.fromkeys(("trained_users", "trained_interactions"))
    late["rounds"] = [each | {"download_bytes": None} for each in OLD_RESULT["rounds"]]
    assert JobResult.of_json(OLD_RESULT, "the file").to_json() == late
    assert JobOpening.of_json(OLD_OPENING, "the file").to_json() == OLD_OPENING | {"format": 1}
    assert LateUpdate.of_json(OLD_LATE, "the file").to_json() == OLD_LATE | {"format": 1}


def test_the_digest_is_the_sha256_of_the_sorted_json_without_spaces() -> None:
    registered = OLD_ROUND | {"evaluation": OLD_EVALUATION}
    text = json.dumps(registered, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    assert record_digest(registered) == digest
    assert EvaluatedRound.of_json(registered, "round.json").digest == digest


@pytest.mark.parametrize("record", RECORDS, ids=lambda each: type(each).__name__)
def test_an_unknown_format_is_refused(record: Record) -> None:
    with pytest.raises(CorruptArtifact, match=r"^the file has format 2, which .*\. Use the version"):
        type(record).of_json(record.to_json() | {"format": 2}, "the file", "Do this.")


def test_a_round_without_a_format_is_refused() -> None:
    written = {name: value for name, value in OLD_ROUND.items() if name != "format"}
    with pytest.raises(CorruptArtifact, match=r"^the file lacks 'format'"):
        RoundRecord.of_json(written, "the file")


@pytest.mark.parametrize("name", sorted(OLD_START.keys() - {"format", "lease"}))
def test_a_missing_part_is_named(name: str) -> None:
    written = {key: value for key, value in OLD_START.items() if key != name}
    with pytest.raises(CorruptArtifact, match=f"^the file lacks '{name}'"):
        RoundRecord.of_json(written, "the file")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"round": "1"}, r"has an invalid 'round': input should be a valid integer, got '1'"),
        ({"round": True}, r"has an invalid 'round'"),
        ({"accepted": None}, r"has an invalid 'accepted'"),
        ({"rejected": [{"client_id": "ash", "reason": "late"}]}, r"lacks 'rejected\.0\.stage'"),
        ({"training": {"loss": {"total": 1.0}}}, r"lacks 'training\.loss\.weight'"),
        ({"contracts": {"updates": "unknown"}}, r"has an invalid 'contracts\.updates'"),
        ({"drift": "large"}, r"has an invalid 'drift'"),
        ({key: {} for key in ("round", "drift", "accepted", "job_id")}, r"and has 1 more faults"),
    ],
)
def test_a_part_of_another_type_is_named(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(CorruptArtifact, match=words):
        RoundRecord.of_json(OLD_ROUND | changes, "the file")


def test_half_a_surrogate_pair_from_a_silo_leaves_the_record_readable() -> None:
    hostile = replace(ROUND, training={"lo\ud800ss": Metric(1.0, 1.0)}, accepted=("bo\udcffb", "zoë"))
    found = RoundRecord.of_json(through_a_file(hostile.to_json()), "the file")
    assert (list(found.training), found.accepted) == (["lo?ss"], ("bo?b", "zoë"))


def test_text_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(CorruptArtifact, match=r"^the file is not a record: "):
        RoundRecord.of_json(OLD_ROUND | {"job_id": "a\ud800"}, "the file")


def test_a_value_that_is_not_an_object_is_refused() -> None:
    with pytest.raises(CorruptArtifact, match="the file is not a JSON object"):
        RoundRecord.of_json([OLD_ROUND], "the file")


def test_the_format_of_a_nested_record_is_checked_too() -> None:
    written = through_a_file(message_to_json(MESSAGES[2]))
    written["content"]["record"]["format"] = 7
    with pytest.raises(CorruptArtifact, match=r"has record\.format 7"):
        message_of_json(written, "the file")


def test_a_note_of_a_round_needs_all_its_parts() -> None:
    with pytest.raises(CorruptArtifact, match="lacks 'evaluation'"):
        TrackedRound.of_json({name: value for name, value in OLD_NOTE.items() if name != "evaluation"}, "x")


@pytest.mark.parametrize(
    ("config", "words"),
    [({}, "lacks 'train.family'"), ({"train": {"family": 3}}, "has an invalid 'train.family': 3")],
)
def test_a_setting_that_an_opening_lacks_is_named(config: dict[str, Any], words: str) -> None:
    with pytest.raises(CorruptArtifact, match=words):
        _ = opening(config=config).family


def test_a_result_takes_version_and_times_from_the_tracking_note() -> None:
    before = replace(RESULT.rounds[1], version=None, seconds={})
    after = before.with_note(NOTE)
    assert (after.version, after.seconds) == (4, {"total": 2.5})
    assert after.with_note(None) == before


def test_a_result_names_the_best_of_its_rounds_with_its_version() -> None:
    rounds = tuple(
        round_result(place, version=7 + place, metrics=metrics)
        for place, metrics in enumerate(({"validation/ndcg@10": 0.5}, {}, {"validation/ndcg@10": 0.25}), 1)
    )
    best = job_result().with_rounds(rounds).best
    assert best == BestRound(round=1, version=8, metric="ndcg@10", value=0.5, last_value=0.25)
    assert job_result().with_rounds((round_result(1),)).best is None
