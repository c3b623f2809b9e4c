"""The terminal summary: the numbers of the result, within 80 columns, whatever is missing."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from data_contracts.outcome import ContractName
from flows.terminal.summary import show_result
from models.evaluation.benefit import Benefit
from tasks.messages.job_opening import Continued
from tasks.messages.job_result import ContractSummary, DataFacts, FinalMetrics, JobResult, Timings
from tests.worlds.records import client_result, job_result, rejection, round_result

NURSE = client_result("[red]nurse", -0.03, 0.01)
METRICS = ("hr@10", "ndcg@10", "recall@20", "loo_hr@10", "loo_ndcg@10")


def check(contract: ContractName, subject: str, passed: bool = True) -> ContractSummary:
    return ContractSummary(contract, subject, passed, "")


def job(**changes: Any) -> JobResult:
    parts = {
        "rounds": (
            round_result(1),
            round_result(2, rejected=(rejection("[red]nurse", "deadline [5 s] passed"),)),
        ),
        "final": FinalMetrics(
            federated=dict.fromkeys(METRICS, 0.06),
            centralised=dict.fromkeys(METRICS, 0.08),
            silo_only=dict.fromkeys(METRICS, 0.05),
        ),
        "clients": (
            client_result("artist", 0.05, 0.01),
            client_result("doctor", 0.01, None, cases=2),
            NURSE,
        ),
        "contracts": (
            check("interactions", "artist"),
            check("updates", "round-1"),
            check("updates", "round-2", passed=False),
        ),
        "timings": Timings(
            total_s=10.0,
            startup_s=1.0,
            train_s=5.0,
            orchestration_s=4.0,
            training_cpu_s=3.0,
            overhead_ratio=3.0,
        ),
    }
    return job_result(**parts | changes)


def shown(result, *open_next, width=80) -> str:
    stream = io.StringIO()
    show_result(result, Console(file=stream, width=width), open_next)
    return stream.getvalue()


def row(text: str, first: str) -> list[str]:
    """Return the words of the one line that begins with `first`."""
    (line,) = [line.split() for line in text.splitlines() if line.split()[:1] == [first]]
    return line


@pytest.mark.parametrize("width", [80, 140])
def test_all_numbers_fit_into_the_columns(width):
    text = shown(job(), width=width)
    assert all(cell_len(line) <= width for line in text.splitlines())
    # 0.06 / 0.08 and 0.06 / 0.05.
    assert row(text, "ndcg@10") == ["ndcg@10", "0.0600", "0.0800", "0.0500", "0.750", "1.200"]
    assert row(text, "metric")[-4:] == ["÷", "centralised", "÷", "silo-only"]
    assert row(text, "Training") == ["Training", "5.00", "50.0%", "█" * 10]
    assert row(text, "Orchestration")[:3] == ["Orchestration", "4.00", "40.0%"]
    assert "times that" not in text


def test_a_job_with_noise_has_one_model_and_says_how_far_noise_moves_its_figures():
    noise = dict.fromkeys(METRICS, 0.0321)
    private = job(final=FinalMetrics(federated=dict.fromkeys(METRICS, 0.06)), figures_noise=noise)
    text = shown(private)
    assert "Test split\n" in "\n".join(line.rstrip() for line in text.splitlines())
    assert row(text, "metric") == ["metric", "federated", "±", "noise"]
    assert row(text, "ndcg@10") == ["ndcg@10", "0.0600", "0.0321"]


def test_gains_losses_contracts_and_rejections_have_a_line_each():
    text = shown(job(), width=200)
    # 9 * 0.05 + 2 * 0.01 - 9 * 0.03 = 0.2 over 20 cases. The doctor has no interval.
    assert "NDCG@10 by +0.0100 ± " in text
    assert "over all 20 cases." in text
    assert "Beyond chance it helps 1 and harms 1 of 3 clients." in text
    # Square brackets in names are text, not markup.
    assert "Served worse: [red]nurse (-0.0300)." in text
    assert "interactions 1/1, updates 1/2." in text
    assert "Rejections: 1; the last in round 2: [red]nurse at deadline: deadline [5 s] passed" in text


def test_published_comparisons_are_beside_the_benefit_of_all():
    own = client_result("ash", 0.0339, 0.01, cases=40, users=None, interactions=None)
    facts = DataFacts("d" * 64, 3, None, 50, None)
    secure = {"config": {"privacy": {"secure_sum": True}}, "data": facts}
    text = shown(job(**secure, clients=(own,), benefit=Benefit(0.0051, None, 120)), width=200)
    assert "1 of 3 silos published its comparison" in text
    assert "Joining changes NDCG@10 by +0.0051 over all 120 cases." in text
    assert "Over the 40 cases of the silos that published, it changes it by +0.0339 ± " in text
    assert "Beyond chance it helps 1 and harms 0 of the silos that published." in text
    text = shown(job(**secure, clients=(), benefit=Benefit(0.0051, None, 120)), width=200)
    assert "Joining changes NDCG@10 by +0.0051 over all 120 cases." in text
    assert "Beyond chance" not in text


def test_a_difference_that_may_be_chance_is_no_loss():
    text = shown(job(clients=(replace(NURSE, benefit_se=0.02),)), width=200)
    assert "Beyond chance it helps 0 and harms 0 of 1 clients." in text
    assert "Served worse" not in text


@pytest.mark.parametrize(("vectors", "said"), [("trained", True), ("folded_in", False), (None, False)])
def test_figures_of_trained_users_say_that_fedrec_evaluate_has_others(vectors, said):
    text = " ".join(shown(job(user_vectors=vectors)).split())
    assert ("folds users in from their histories, so its figures differ" in text) == said
    assert ("as in serving and by fedrec evaluate" in text) == (vectors == "folded_in")


def test_many_losers_are_counted():
    losers = tuple(client_result(f"c{n}", -0.01 * (n + 1), 0.001) for n in range(8))
    text = shown(job(clients=losers), width=200)
    assert "Served worse: c7 (-0.0800), c6 (-0.0700)" in text
    assert "c3 (-0.0400) and 3 more." in text


def test_clients_that_keep_their_own_model_are_named():
    assert "own model" not in shown(job())
    result = job(clients=(replace(NURSE, offer="local"),))
    assert "Offered their own model, by their validation cases: [red]nurse." in shown(result, width=200)


def test_baselines_that_were_not_run_have_no_columns():
    final = FinalMetrics(federated=dict.fromkeys(METRICS, 0.06))
    text = shown(job(final=final, clients=(client_result("artist", None, None),)))
    assert row(text, "metric") == ["metric", "federated"]
    assert "Joining" not in text


def test_a_stopped_job_gives_its_reason_and_shows_no_empty_table():
    text = shown(job_result(status="stopped", stop_reason="quorum of 2 not reached"))
    assert "The job stopped: quorum of 2 not reached." in text
    for absent in ("ndcg@10", "Contracts that held", "LightFM", "Open next", "Rejections"):
        assert absent not in text


def test_a_reason_with_its_own_full_stop_has_one():
    result = job_result(status="stopped", stop_reason="Round 1 got 0 usable updates. Repair those clients.")
    text = shown(result, width=200)
    assert "The job stopped: Round 1 got 0 usable updates. Repair those clients.\n" in text


def test_a_finished_job_without_rejections_says_so():
    assert "Rejections: none." in shown(job(rounds=(round_result(1),)))


def test_paths_to_open_next_are_not_broken():
    address = "http://localhost:5000/" + "a" * 100
    lines = shown(job(), address, "see [1]").splitlines()
    assert lines[-3:] == ["Open next", f"  {address}", "  see [1]"]


def test_a_job_that_continues_another_names_it():
    assert "Its first" not in shown(job())
    assert "Its first round is that of job films-short-1." in shown(
        job(continued=Continued("films-short-1", 1))
    )
