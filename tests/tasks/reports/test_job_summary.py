"""The page about a job in Prefect's UI."""

from __future__ import annotations

from tasks.messages.job_opening import Continued
from tasks.messages.job_result import FinalMetrics
from tasks.reports.job_summary import job_summary
from tests.worlds.records import job_result, rejection, round_result

TWO_ROUNDS = (
    round_result(1, accepted=("ash", "birch"), metrics={"validation/ndcg@10": 0.25}),
    round_result(2, rejected=(rejection("birch", "a | b\n*c*"),), version=7, seconds={}),
)


def test_a_finished_job_s_page_has_outcome_links_metrics_and_rounds() -> None:
    final = FinalMetrics(
        federated={"ndcg@10": 0.06, "hr@10": 0.1}, centralised={"ndcg@10": 0.12}, silo_only={"ndcg@10": 0.03}
    )
    page = job_summary(
        job_result(rounds=TWO_ROUNDS, final=final), [("its run", "http://h/#/experiments/1/runs/r")]
    )

    lines = page.splitlines()
    assert lines[0] == "# Job films-1: finished"
    assert "Federated training reached NDCG@10 of 0.0600: 50.0% of what pooling all data reaches" in page
    assert "- model `movies`" in lines
    assert any(
        line.startswith("- Round 1 (version 1) has the best validation NDCG@10, 0.2500") for line in lines
    )
    assert "- 2 rounds over 3 clients, 1.0 s" in lines
    assert "- report: `films-1/report/report.html`" in lines
    assert "- [its run](http://h/#/experiments/1/runs/r)" in lines
    assert "| ndcg@10 | 0.0600 | 0.1200 | 0.0300 |" in lines
    assert "| hr@10 | 0.1000 | – | – |" in lines
    assert "| 1 | 2 of 2 | – | 0.2500 | 1.0 |" in lines


def test_what_a_client_says_breaks_no_table() -> None:
    page = job_summary(job_result(rounds=TWO_ROUNDS))

    assert "| 2 | 1 of 2 | birch (deadline: a \\| b \\*c\\*) | – | – |" in page.splitlines()


def test_a_stopped_job_s_page_says_why_and_has_no_empty_tables() -> None:
    page = job_summary(job_result(status="stopped", stop_reason="The quorum is 2."))

    assert "The job stopped: The quorum is 2." in page
    assert "|" not in page


def test_the_last_rounds_stand_for_many() -> None:
    page = job_summary(job_result(rounds=tuple(round_result(number) for number in range(1, 13))))

    assert "## The last 10 rounds" in page
    assert [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| ")][2:] == [
        f"| {number}" for number in range(3, 13)
    ]


def test_a_job_that_continues_another_names_it() -> None:
    assert "Its first" not in job_summary(job_result())
    page = job_summary(job_result(continued=Continued("films-short-1", 4)))
    assert "- Its first 4 rounds are those of job films-short-1." in page.splitlines()
