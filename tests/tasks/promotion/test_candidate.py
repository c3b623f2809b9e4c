"""Without a version a promotion is about the best round of the newest evaluated job."""

from __future__ import annotations

import pytest

from models.errors import NotFound
from tasks.jobs.journal import Journal, held
from tasks.promotion.candidate import default_candidate
from tests.worlds.records import job_result, opening, round_result


@pytest.fixture
def trained(world, evaluated):
    """Register rounds 1 to 3 of a job, of which round 2 is the best one."""
    with held(world.home.jobs, "films", "k" * 64, opening()) as journal:
        world.job_id = journal.job_id
        for round_, value in enumerate((0.30, 0.40, 0.20), start=1):
            world.register(round_, evaluated(value))
        journal.conclude(result_of(journal.job_id, 0.30, 0.40, 0.20))
    return world


def result_of(job_id, *values):
    rounds = tuple(
        round_result(round_, metrics={"validation/ndcg@10": value})
        for round_, value in enumerate(values, start=1)
    )
    return job_result(job_id=job_id, rounds=rounds)


def chosen(world):
    return default_candidate(world.home, world.client, "movies")


def test_the_best_round_of_the_job_is_the_candidate(trained):
    version, why = chosen(trained)
    assert version == 2
    assert why == (
        f"Version 2, round 2 of job {trained.job_id}, has the best validation ndcg@10 of the job, 0.4000; "
        "version 3 has 0.2000."
    )


def test_a_last_round_that_is_best_needs_no_words(world, evaluated):
    with held(world.home.jobs, "films", "k" * 64, opening()) as journal:
        world.job_id = journal.job_id
        for round_, value in enumerate((0.30, 0.40), start=1):
            world.register(round_, evaluated(value))
        journal.conclude(result_of(journal.job_id, 0.30, 0.40))
    assert chosen(world) == (2, None)


@pytest.mark.parametrize("fault", ["unfinished", "damaged", "edited tag", "deleted", "another job's"])
def test_where_the_best_round_is_not_known_the_newest_is_the_candidate(trained, fault):
    result = Journal(trained.home.jobs / trained.job_id).folder / "result.json"
    if fault == "unfinished":
        result.unlink()
    elif fault == "damaged":
        result.write_text("{")
    elif fault == "edited tag":
        trained.client.set_model_version_tag("movies", "3", "fedrec.job", f"../jobs/{trained.job_id}")
    elif fault == "deleted":
        trained.client.delete_model_version("movies", "2")
    else:
        trained.client.set_model_version_tag("movies", "2", "fedrec.job", "films-other-1")
    assert chosen(trained) == (3, None)


def test_without_any_evaluation_there_is_no_candidate(world):
    world.register(1, None)
    with pytest.raises(NotFound, match="No version of 'movies' has been evaluated yet"):
        chosen(world)
