"""More rounds of a job: common rounds are taken over, and the model is that of all rounds at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect import flow

from flows.housekeeping import housekeeping
from flows.settings.training_config import TrainingConfig
from flows.terminal.progress import listening
from models.recommenders.families.registry import spec_of
from tasks.jobs.journal import Journal
from tasks.local.home import Home
from tasks.messages.job_opening import Continued
from tasks.messages.job_result import JobResult
from tests.worlds.mlflow_home import put_database
from tests.worlds.small_jobs import small_job

CLIENTS = {"ash", "birch", "cedar"}
RATING = {"family": "bayesian_mf", "dims": 2, "directions": 3, "direction_rounds": 1}
RATING |= {"burn_in": 1, "thinning": 1, "draws": 1}


@pytest.fixture
def enter(tmp_path: Path, prefect_server: None, empty_database: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes a fresh home and makes the environment name it."""

    def entered(name: str) -> Home:
        home = Home(tmp_path / name)
        put_database(home, empty_database)
        monkeypatch.setenv("FEDREC_HOME", str(home.root))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{home.mlflow / 'mlflow.db'}")
        return home

    return entered


@pytest.fixture
def home(enter: Any) -> Home:
    return enter("only")


@pytest.fixture
def said() -> Iterator[list[str]]:
    """Return the lines that the jobs of the test announce."""
    lines: list[str] = []
    with listening(lambda event: lines.append(event.text)):
        yield lines


def of(
    partition: Path, rounds: int, train: dict[str, Any] | None = None, **federation: Any
) -> TrainingConfig:
    spec = {"dims": 4, **(train or {})}
    # Ratings are not ranked against sampled items.
    evaluation = {"every": 3, "negatives": 99 if "draws" in spec else 9}
    config = small_job(partition, federation={"rounds": rounds, **federation}, evaluation=evaluation)
    return config.model_copy(update={"train": spec_of({"family": "lightfm", **spec})})


def run(config: TrainingConfig, *, again: bool = False) -> JobResult:
    from flows.train import run_locally

    result, _ = run_locally(config, again=again)
    assert result.status == "finished"
    return result


def hashes(result: JobResult) -> list[str]:
    return [each.model_sha256 for each in result.rounds]


def trained_in(home: Home, result: JobResult) -> list[str]:
    """Return the job that trained each round, from round 1 on."""
    return [each.job_id for each in Journal(home.jobs / result.job_id).committed()[1:]]


@flow
def interrupted(config: TrainingConfig, rounds: int) -> None:
    """Begin or continue a job, and end after some rounds as an interrupted process does: without a result."""
    from flows.jobs.job import opened
    from flows.jobs.rounds import check_silos, finish_tracking, run_round

    with opened(config) as job:
        finish_tracking(job)
        check_silos(job)
        for _ in range(rounds):
            run_round(job)


@pytest.mark.parametrize(
    ("train", "federation", "fewer", "more", "shared"),
    [
        # Of four rounds, the rate falls in the last one: at the start of round 4 a quarter is left.
        ({"cooldown_share": 0.3}, {"cohort_share": 0.6}, 4, 7, 3),
        # What the updates of a round left out belongs to the rounds after it.
        ({"sent_bits": 5}, {}, 2, 4, 2),
        ({"family": "ials", "dims": 3}, {}, 2, 4, 2),
        (RATING, {}, 4, 6, 4),
    ],
    ids=["cooldown", "few_bits", "ials", "ratings"],
)
def test_more_rounds_give_the_model_of_all_rounds(
    enter: Any,
    rated_partition_dir: Path,
    said: list[str],
    train: dict[str, Any],
    federation: dict[str, Any],
    fewer: int,
    more: int,
    shared: int,
) -> None:
    enter("straight")
    straight = run(of(rated_partition_dir, more, train, **federation))
    home = enter("again")
    first = run(of(rated_partition_dir, fewer, train, **federation))
    said.clear()
    second = run(of(rated_partition_dir, more, train, **federation))
    assert f"Job {second.job_id} continues job {first.job_id} from round {shared} of {more}." in said
    assert second.continued == Continued(first.job_id, shared)
    assert hashes(second) == hashes(straight)
    assert second.model_sha256 == straight.model_sha256
    assert second.final == straight.final
    assert trained_in(home, second) == [first.job_id] * shared + [second.job_id] * (more - shared)
    assert [each.metrics for each in second.rounds] == [each.metrics for each in straight.rounds]
    assert [each.rejected for each in second.rounds] == [()] * more


def test_mlflow_has_the_whole_history_and_each_round_once(home: Home, partition_dir: Path) -> None:
    from mlflow.tracking import MlflowClient

    first, second = run(of(partition_dir, 2)), run(of(partition_dir, 4))
    client = MlflowClient()
    tags = client.get_run(second.run_id).data.tags
    assert tags["fedrec.continues"] == first.job_id
    assert tags["fedrec.continues_round"] == "2"
    assert tags["fedrec.continues_run"] == first.run_id
    assert f"It continues job {first.job_id} from round 2 of 4." in tags["mlflow.note.content"]
    assert client.get_run(second.run_id).data.params["federation.rounds"] == "4"

    def history(run_id: str | None, name: str) -> list[tuple[int, float]]:
        return [(each.step, each.value) for each in client.get_metric_history(run_id, name)]

    drift = history(second.run_id, "round/drift")
    assert drift == [(each.round, each.drift) for each in second.rounds]
    assert drift[:2] == history(first.run_id, "round/drift")
    # The shorter job has evaluated its last round, 2. A job of four rounds evaluates rounds 3 and 4.
    assert [step for step, _ in history(first.run_id, "quality/validation/ndcg_at_10")] == [2]
    assert [step for step, _ in history(second.run_id, "quality/validation/ndcg_at_10")] == [3, 4]
    assert [step for step, _ in history(second.run_id, "seconds/train")] == [1, 2, 3, 4]

    versions = client.search_model_versions("name = 'small-model'", order_by=["version_number ASC"])
    found = [(int(each.version), each.tags["fedrec.job"], each.tags["fedrec.round"]) for each in versions]
    assert found == [
        (1, first.job_id, "1"),
        (2, first.job_id, "2"),
        (3, second.job_id, "3"),
        (4, second.job_id, "4"),
    ]
    assert [each.version for each in second.rounds] == [1, 2, 3, 4]
    subjects = {each.subject for each in second.contracts}
    assert subjects == CLIENTS | {f"round-{round_}" for round_ in (1, 2, 3, 4)}


def test_an_interrupted_continuation_of_an_interrupted_job_ends_as_an_undisturbed_one(
    enter: Any, partition_dir: Path, said: list[str]
) -> None:
    """The earlier job goes on as well, and its clients keep the users from which the longer one starts."""
    from mlflow.tracking import MlflowClient

    share = {"cohort_share": 0.6}
    enter("straight")
    straight = run(of(partition_dir, 7, **share))
    home = enter("again")
    interrupted(of(partition_dir, 6, **share), 2)
    # As if the process had ended right after it committed round 2.
    (first,) = home.jobs.glob("*/tracked/000002.json")
    first.unlink()
    interrupted(of(partition_dir, 7, **share), 0)
    shorter = run(of(partition_dir, 6, **share))
    assert shorter.continued is None
    interrupted(of(partition_dir, 7, **share), 2)
    (longer,) = {path.name for path in home.jobs.iterdir() if path.is_dir()} - {shorter.job_id}
    assert f"Job {longer} continues after round 4." not in said
    result = run(of(partition_dir, 7, **share))
    assert f"Job {longer} continues after round 4." in said
    assert result.job_id == longer
    assert result.continued == Continued(shorter.job_id, 2)
    assert hashes(result) == hashes(straight)
    assert hashes(shorter) == hashes(straight)[:6]
    versions = MlflowClient().search_model_versions("name = 'small-model'")
    made = [(each.tags["fedrec.job"], int(each.tags["fedrec.round"])) for each in versions]
    assert sorted(made) == sorted(
        [(shorter.job_id, each) for each in range(1, 7)] + [(longer, each) for each in range(3, 8)]
    )
    assert [each.version for each in result.rounds[:2]] == [each.version for each in shorter.rounds[:2]]


def test_again_trains_all_rounds(home: Home, partition_dir: Path) -> None:
    run(of(partition_dir, 1))
    interrupted(of(partition_dir, 3), 1)
    second = run(of(partition_dir, 3), again=True)
    assert second.continued is None
    assert trained_in(home, second) == [second.job_id] * 3


def test_fewer_rounds_and_other_settings_share_nothing(
    home: Home, partition_dir: Path, said: list[str]
) -> None:
    from flows.jobs.job import opened

    run(of(partition_dir, 2))
    said.clear()
    others = [of(partition_dir, 1), of(partition_dir, 3, {"dims": 5}), of(partition_dir, 3, quorum_share=1.0)]
    for config in [*others, of(partition_dir, 3).model_copy(update={"seed": 2})]:
        with opened(config) as job:
            assert (job.journal.opening.continued, len(job.rounds)) == (None, 1)
    assert not [line for line in said if "continue" in line or "anew" in line]


def test_a_job_continues_after_housekeeping_removed_what_is_superseded(
    home: Home, partition_dir: Path
) -> None:
    from flows.jobs.job import opened

    cooled = {"cooldown_share": 0.5}
    first = run(of(partition_dir, 3, cooled))
    assert housekeeping(keep_rounds=1)["models_removed"] == 2  # those of rounds 0 and 1
    # At the start of round 3 a third of three rounds is left, and at that of round 2 two thirds.
    second = run(of(partition_dir, 5, cooled))
    assert second.continued == Continued(first.job_id, 2)
    housekeeping(keep_rounds=1)
    with opened(of(partition_dir, 9, cooled)) as job:
        # The rate of five rounds falls in round 4, when two fifths are left.
        assert job.journal.opening.continued == Continued(second.job_id, 3)
        # Unfinished, it protects the model from which it goes on.
        housekeeping(keep_rounds=1)
        assert job.context.exchange.get(job.base)


def _without_model(home: Home, first: JobResult) -> None:
    shutil.rmtree(home.exchange / first.job_id)


def _without_users(home: Home, first: JobResult) -> None:
    shutil.rmtree(home.silos / "birch")


def _damaged_users(home: Home, first: JobResult) -> None:
    for path in (home.silos / "birch").rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-1])


def _damaged_record(home: Home, first: JobResult) -> None:
    (home.jobs / first.job_id / "rounds" / "000001.json").write_text("{")


def _without_note(home: Home, first: JobResult) -> None:
    (home.jobs / first.job_id / "tracked" / "000001.json").unlink()


def _damaged_outcome(home: Home, first: JobResult) -> None:
    (home.jobs / first.job_id / "contracts" / "round-000001.updates.json").write_text("{")


LOSSES = {
    "is missing from the exchange": _without_model,
    "The user embeddings of round 2 are missing": _without_users,
    "round-000002.safetensors": _damaged_users,
    "000001.json is damaged": _damaged_record,
    "has no note about round 1": _without_note,
    "is not a contract outcome": _damaged_outcome,
}


def test_all_rounds_are_trained_if_what_they_need_is_gone(
    home: Home, tmp_path: Path, partition_dir: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.jobs.job import opened

    first = run(of(partition_dir, 2))
    for number, (reason, lose) in enumerate(LOSSES.items()):
        place = Home(tmp_path / f"copy-{number}")
        shutil.copytree(home.root, place.root)
        monkeypatch.setenv("FEDREC_HOME", str(place.root))
        lose(place, first)
        said.clear()
        with opened(of(partition_dir, 3)) as job:
            assert [each.job_id for each in job.rounds] == [job.journal.job_id]
        assert job.journal.opening.continued is None
        (line,) = [each for each in said if "trained anew" in each]
        assert line.startswith(f"All 3 rounds are trained anew. Job {first.job_id} cannot be continued: ")
        assert reason in line
        assert "\n" not in line


def test_a_job_on_which_another_process_works_is_not_continued(
    home: Home, partition_dir: Path, said: list[str]
) -> None:
    from flows.jobs.job import opened

    interrupted(of(partition_dir, 3), 1)
    with opened(of(partition_dir, 3)) as running, opened(of(partition_dir, 4)) as job:
        assert len(running.rounds) == 2
        assert job.journal.opening.continued is None
    (line,) = [each for each in said if "trained anew" in each]
    assert f"Another process works on job {running.journal.job_id}" in line
