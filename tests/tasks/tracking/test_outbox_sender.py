"""What MLflow refuses is set aside for its job alone, in a real database, and is sent again in order."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import requests
from mlflow.exceptions import ERROR_CODE_TO_HTTP_STATUS, MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, ErrorCode

from models.errors import CorruptArtifact
from tasks.jobs.journal import held_alone
from tasks.jobs.outbox import drop_refused, outbox_of, outboxes
from tasks.local.home import Home
from tasks.messages.outbox_messages import OutboxMessage
from tasks.tracking import registry
from tasks.tracking.mlflow_model import FAMILIES
from tasks.tracking.outbox_sender import OutboxSender, send_again, send_what_waits
from tests.worlds.waiting_jobs import ITEMS, NOTE, Job, job_with_waiting_messages, refusing


@pytest.fixture
def bad(mlflow_home: Home) -> Job:
    """Return a job whose name sorts before that of the good one."""
    return job_with_waiting_messages(mlflow_home, "a-bad", "movies")


@pytest.fixture
def good(mlflow_home: Home, bad: Job) -> Job:
    return job_with_waiting_messages(mlflow_home, "good", "books")


def sent(home: Home) -> tuple[list[str], list[str]]:
    """Send what waits. Return the jobs of which all was sent, and the warnings."""
    warnings: list[str] = []
    return send_what_waits(home, warnings.append), warnings


def put_and_send(sender: OutboxSender, message: OutboxMessage) -> bool:
    sender.put(message)
    return sender.send_waiting()


def is_whole(job: Job) -> None:
    assert (job.waiting(), job.refused()) == ([], {})
    assert job.rounds() == {1: 1, 2: 2}
    assert job.status() == ["FINISHED"]
    found = job.journal.result()
    assert found is not None
    assert found.run_id is not None


# What MLflow's client refuses -> what is set aside, with the record that it follows.
REFUSED: dict[str, tuple[str, str, dict[int, tuple[str, int | None]]]] = {
    "run": (
        "create_run",
        "",
        {
            1: ("opening", None),
            2: ("lineage", None),
            3: ("breach in round 1", None),
            4: ("round 1", None),
            5: ("round 2", None),
            6: ("result", None),
        },
    ),
    "opening": (
        "log_artifact",
        "items.parquet",
        {1: ("opening", None), 4: ("round 1", 1), 5: ("round 2", 1), 6: ("result", 1)},
    ),
    "lineage": ("log_inputs", "", {2: ("lineage", None)}),
    "breach": ("set_tag", "fedrec.breach", {3: ("breach in round 1", None)}),
    "round": (
        "create_model_version",
        "",
        {4: ("round 1", None), 5: ("round 2", 4), 6: ("result", 4)},
    ),
    "second round": (
        "create_model_version",
        "'fedrec.round': '2'",
        {5: ("round 2", None), 6: ("result", 5)},
    ),
    "result": ("log_artifacts", "/report'", {6: ("result", None)}),
}


@pytest.mark.parametrize("what", REFUSED)
def test_a_refused_message_is_set_aside_with_what_needs_it(bad: Job, what: str) -> None:
    method, only, refused = REFUSED[what]
    error = MlflowException("It is not allowed.\nMore text.", error_code=INVALID_PARAMETER_VALUE)
    with refusing(method, error, only):
        whole, warnings = sent(bad.home)
    (warning,) = warnings
    first = next(iter(refused.values()))[0]
    more = f" and {len(refused) - 1} more" if len(refused) > 1 else ""
    assert f"of job {bad.journal.job_id} are set aside" in warning
    assert f"({first}{more}): It is not allowed. See fedrec outbox list" in warning
    assert "\n" not in warning
    assert (whole, bad.waiting(), bad.refused()) == ([], [], refused)
    # Without its result a job is not told as finished, and no run stays RUNNING.
    expected = {"run": [], "lineage": ["FINISHED"], "breach": ["FINISHED"]}
    assert bad.status() == expected.get(what, ["FAILED"])
    # They are not tried again, nor named, until somebody asks for it.
    assert sent(bad.home) == ([], [])
    assert send_again(bad.home, bad.journal)
    is_whole(bad)


CODES = [ErrorCode.Value(name) for name in ERROR_CODE_TO_HTTP_STATUS]
ERRORS = [
    *(MlflowException("Not allowed.", error_code=code) for code in CODES),
    ValueError("The truth value of an array is ambiguous."),
    TypeError("unhashable type: 'list'"),
    OSError(5, "Input/output error"),
    PermissionError(13, "Permission denied"),
    KeyError("genres"),
    UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed"),
    RecursionError("maximum recursion depth exceeded"),
    AssertionError(),
    CorruptArtifact("The model is damaged.", next_step="Restore it."),
    requests.Timeout("20 s"),
    ConnectionRefusedError(111, "Connection refused"),
]
OUTAGES = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED"}


def test_every_error_is_an_outage_or_a_refusal(bad: Job) -> None:
    sent(bad.home)
    outbox = outbox_of(bad.journal)
    for error in ERRORS:
        outbox.put(bad.messages[2])
        with refusing("set_tag", error):
            whole, warnings = sent(bad.home)
        assert whole == [], error
        is_away = getattr(error, "error_code", "") in OUTAGES
        if is_away or isinstance(error, requests.Timeout | ConnectionError):
            assert (outbox.count(), outbox.refused(), warnings) == (1, [], []), error
            assert sent(bad.home) == ([bad.journal.job_id], []), error
        else:
            assert (outbox.count(), len(outbox.refused()), len(warnings)) == (0, 1, 1), error
            assert warnings[0].count("\n") == 0
            drop_refused(bad.journal)
    is_whole(bad)


def test_a_full_disk_is_no_refusal(bad: Job) -> None:
    with (
        refusing("set_tag", OSError(28, "No space left on device")),
        pytest.raises(OSError, match="No space"),
    ):
        send_what_waits(bad.home)
    assert (bad.waiting(), bad.refused()) == ([3, 4, 5, 6], {})
    assert sent(bad.home) == ([bad.journal.job_id], [])
    is_whole(bad)


DAMAGED = [
    "",
    "{",
    "null",
    "[]",
    '{"kind": []}',
    "[" * 50_000,
    '{"kind": "breach", "content": {"round": NaN}}',
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_message_stops_only_what_may_follow_it(bad: Job, good: Job, text: str) -> None:
    damaged = outbox_of(bad.journal).waiting()[1]
    damaged.path.write_text(text)
    whole, (warning,) = sent(bad.home)
    assert whole == [good.journal.job_id]
    assert "(unreadable and 3 more)" in warning
    assert bad.refused() == {
        2: ("unreadable", None),
        4: ("round 1", 2),
        5: ("round 2", 2),
        6: ("result", 2),
    }
    assert not send_again(bad.home, bad.journal)
    assert list(drop_refused(bad.journal, [2])) == [2]
    assert send_again(bad.home, bad.journal)
    is_whole(bad)
    is_whole(good)


def damage_opening(job: Job) -> None:
    (job.journal.folder / "job.json").write_text("{")


def damage_round(job: Job) -> None:
    (job.journal.folder / "rounds" / "000000.json").write_text("null")


def damage_exchange(job: Job) -> None:
    shutil.rmtree(job.home.exchange / job.journal.job_id)


def damage_items(job: Job) -> None:
    (outbox_of(job.journal).folder / "items.parquet").unlink()


def damage_result(job: Job) -> None:
    (job.journal.folder / "result.json").write_text("[]")


@pytest.mark.parametrize(
    "damage",
    [damage_opening, damage_round, damage_exchange, damage_items, damage_result],
)
def test_a_damaged_job_stops_no_other_job(bad: Job, good: Job, damage: Callable[[Job], None]) -> None:
    damage(bad)
    whole, warnings = sent(bad.home)
    assert good.journal.job_id in whole
    is_whole(good)
    assert [bad.journal.job_id in line for line in warnings] == [True]
    # Nothing of it is tried at the next command.
    assert sent(bad.home) == ([], [])


def test_a_deleted_experiment_is_named_with_the_way_out(bad: Job, good: Job) -> None:
    experiment = bad.client.create_experiment("a-bad", artifact_location=(bad.home.mlflow / "a").as_uri())
    bad.client.delete_experiment(experiment)
    whole, (warning,) = sent(bad.home)
    assert whole == [good.journal.job_id]
    assert f"mlflow experiments restore -x {experiment} " in warning
    assert list(bad.refused()) == [1, 2, 3, 4, 5, 6]
    assert not send_again(bad.home, bad.journal)
    bad.client.restore_experiment(experiment)
    assert send_again(bad.home, bad.journal)
    is_whole(bad)


def test_a_run_that_was_deleted_is_made_again_with_its_opening(bad: Job) -> None:
    with refusing("create_model_version", ValueError("no"), "'fedrec.round': '2'"):
        sent(bad.home)
    assert bad.rounds() == {1: 1}
    (run,) = bad.client.search_runs([bad.client.get_experiment_by_name("a-bad").experiment_id])
    bad.client.delete_run(run.info.run_id)
    assert send_again(bad.home, bad.journal)
    is_whole(bad)
    (run,) = bad.client.search_runs([bad.client.get_experiment_by_name("a-bad").experiment_id])
    assert run.data.params["model_name"] == "movies"
    # The version can be read, because its run has the catalogue.
    assert registry.load_version(bad.client, "movies", 2).items["item_id"].tolist() == ["1", "2"]


def test_a_lost_opening_is_made_again(bad: Job) -> None:
    outbox_of(bad.journal).waiting()[0].path.write_text("{")
    sent(bad.home)
    drop_refused(bad.journal, [1])
    assert send_again(bad.home, bad.journal)
    is_whole(bad)


def test_a_dropped_round_lets_what_followed_go_on(bad: Job) -> None:
    with refusing("create_model_version", ValueError("no"), "'fedrec.round': '1'"):
        sent(bad.home)
    drop_refused(bad.journal, [4])
    assert send_again(bad.home, bad.journal)
    assert bad.rounds() == {1: 2}
    assert bad.status() == ["FINISHED"]
    assert outboxes(bad.home) == []


def test_a_running_job_goes_on_and_is_told_again_when_it_is_opened_again(mlflow_home: Home) -> None:
    items = mlflow_home.root / "items.parquet"
    ITEMS.to_parquet(items)
    job = job_with_waiting_messages(mlflow_home, "films", "movies")
    shutil.rmtree(outbox_of(job.journal).folder)
    (job.journal.folder / "result.json").unlink()
    _, lineage, _, first, second, result = job.messages
    with held_alone(job.journal) as journal:
        sender = OutboxSender(mlflow_home, journal)
        with refusing("create_model_version", ValueError("no")):
            sender.open(job.journal.opening.config, items)
            assert [put_and_send(sender, each) for each in (lineage, first, second)] == [True, False, False]
        assert [each.what for each in sender.refused] == ["round 1", "round 2"]
        assert (sender.outbox.count(), sender.silence) == (0, None)
        assert sender.note_of(2) == NOTE
        # It follows the rounds although MLflow would take it now.
        assert not put_and_send(sender, result)
        assert job.status() == ["FAILED"]
    with held_alone(job.journal) as journal:
        again = OutboxSender(mlflow_home, journal)
        again.open(job.journal.opening.config, items)
        assert again.send_waiting()
        assert (again.outbox.count(), again.refused) == (0, [])
        # A job that is opened again will have another result.
        assert outboxes(mlflow_home) == []
        assert job.status() == ["RUNNING"]
        assert put_and_send(again, result)
    assert job.rounds() == {1: 1, 2: 2}


def test_a_job_that_is_held_is_left_alone(bad: Job) -> None:
    with held_alone(bad.journal):
        warnings: list[str] = []
        assert sent(bad.home) == ([], [])
        assert not send_again(bad.home, bad.journal, warnings.append)
        assert ["Another process works on job" in line for line in warnings] == [True]
    assert bad.waiting() == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("family", "is_model"), [*((each, True) for each in sorted(FAMILIES)), ("other", False)]
)
def test_a_version_of_fedrec_s_own_families_is_an_mlflow_model(
    mlflow_home: Home, family: str, is_model: bool
) -> None:
    job = job_with_waiting_messages(mlflow_home, "films", "movies", family=family)
    sent(mlflow_home)
    is_whole(job)
    run_id = job.client.get_model_version("movies", "2").run_id
    names = {each.path.rpartition("/")[2] for each in job.client.list_artifacts(run_id, "rounds/0002")}
    assert {"model.safetensors", "round.json"} <= names
    assert ({"MLmodel", "mlflow_scorer.py", "items.parquet"} <= names) is is_model


def test_a_catalogue_from_before_its_columns_were_judged_is_sent(mlflow_home: Home) -> None:
    job = job_with_waiting_messages(mlflow_home, "older", "movies", ITEMS.assign(genres=["War Drama", None]))
    assert sent(mlflow_home) == ([job.journal.job_id], [])
    is_whole(job)
    genres = registry.load_version(job.client, "movies", 2).items["genres"]
    assert [list(own) for own in genres] == [["War", "Drama"], []]
