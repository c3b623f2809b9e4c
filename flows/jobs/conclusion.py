"""The end of a job: comparisons on the test cases, the result, the report, and their logging."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from data_contracts.outcome import ContractOutcome
from flows.jobs.job import Job
from flows.jobs.late import note_late_updates
from flows.jobs.privacy import account_settled, require_summands
from flows.settings.training_config import EvaluationSection
from flows.terminal.progress import announce
from models.errors import CorruptArtifact, FedrecError
from models.evaluation.benefit import DIFFERENCE, SQUARED_DIFFERENCE, Benefit, benefit_of, offer_of
from models.evaluation.judgement import judgement_of
from models.evaluation.trained_pairs import LEFT_OUT
from models.kernel.metric import Metric, as_json, total, values
from models.privacy.figure_noise import noise_margin
from tasks.jobs.stopwatch import share_of_wall_time
from tasks.jobs.timings import timings_of
from tasks.local.home import current_home
from tasks.messages.answers import ClientEvaluation, SumAnswer
from tasks.messages.job_result import (
    ClientResult,
    ContractSummary,
    DataFacts,
    FinalMetrics,
    JobResult,
    LeftOut,
    RoundResult,
    Timings,
    best_of,
)
from tasks.messages.outbox_messages import ResultMessage, Table
from tasks.messages.record import as_json_object
from tasks.messages.round_record import RoundRecord
from tasks.messages.sum_forms import INTERACTIONS, USERS, evaluation_form, metrics_of
from tasks.orchestration.runs import begin_to_wait
from tasks.pooling.train_centralised import Pooled, train_centralised
from tasks.reports.data_docs import build_data_docs
from tasks.reports.explanation import NOTHING_SHOWN, Explanation, explain, write_explanation
from tasks.reports.next_steps import example_items, steps_after
from tasks.reports.report import write_report
from tasks.reports.result_rows import notes, verdict
from tasks.tracking.metric_names import metrics_of_result
from tasks.tracking.pages import mlflow_pages, places_of_job


@dataclass(frozen=True)
class Compared:
    """The final model and its baselines on the test cases.

    Attributes:
        clients: the evaluation of each client; of secure sums only what silos publish.
        metrics, alone: sums over all clients of the final model and of models of each client alone.
        benefit: sums over all clients of the differences between the two.
        pooled: sums of a model of the pooled data; None without one.
    """

    clients: tuple[ClientEvaluation, ...] = ()
    metrics: dict[str, Metric] = field(default_factory=dict)
    alone: dict[str, Metric] = field(default_factory=dict)
    benefit: dict[str, Metric] = field(default_factory=dict)
    pooled: dict[str, Metric] | None = None


def conclude(job: Job, stopped_by: FedrecError | None) -> JobResult:
    """Write a job's result to its folder and to MLflow, and return it.

    Args:
        job: a job whose rounds are all committed, or that was stopped.
        stopped_by: the error that stopped it before its last round, if any. It can continue later.
    """
    compared = Compared()
    if stopped_by is None and job.has_figures:
        beside = _beside(job.config.evaluation) if _baseline_rounds(job) else ""
        announce(f"Evaluating the model on the test cases{beside}.")
        compared = _compare(job)
    begin_to_wait(job.flow_run_id)
    note_late_updates(job, everywhere=True)
    # The report and the result name the versions.
    job.tracking.drain(job.clock)
    announce("Writing the report and the Data Docs.")
    with job.journal.guarded():
        return _concluded(job, stopped_by, compared)


def _beside(evaluation: EvaluationSection) -> str:
    """Return what else is evaluated, as the end of a sentence."""
    others = []
    if evaluation.silo_only:
        others.append("a model of each silo alone")
    if evaluation.pooling_allowed:
        others.append("a model of the pooled data")
    return f", beside {' and '.join(others)}" if others else ""


def _concluded(job: Job, stopped_by: FedrecError | None, compared: Compared) -> JobResult:
    folder = job.journal.folder / "report"
    with job.clock.measure("report"):
        contracts: list[ContractSummary] = []
        build_data_docs(_outcomes(job, contracts), folder / "data_docs")
        explanation = _explained(job)
        result = _result(job, stopped_by, compared, contracts)
        if stopped_by is None:
            result = replace(result, account_epsilon=account_settled(job.home, job.journal))
        else:
            # Of a job that was stopped before it asked any client to train.
            result = replace(result, account_epsilon=stopped_by.facts.get("account_epsilon"))
        result = replace(result, examples=_examples(job, explanation))
        write_explanation(explanation, folder / "explanation.json")
        write_report(result, folder / "report.html", explanation=explanation, open_next=open_next(result))
    _send(job, replace(result, timings=_timings(job)), explanation)
    result = replace(job.sender.completed(result), timings=_timings(job))
    # Last, because a job with a result is finished. After an earlier crash, the same command concludes it.
    job.journal.conclude(result)
    return result


def _outcomes(job: Job, summaries: list[ContractSummary]) -> Iterator[ContractOutcome]:
    """Yield the outcomes of the job's contracts, one at a time, and add a summary of each."""
    for text in job.journal.outcomes():
        outcome = ContractOutcome.from_json(text)
        summaries.append(
            ContractSummary(outcome.contract, outcome.subject, outcome.passed, outcome.summary())
        )
        yield outcome


def open_next(result: JobResult) -> list[str]:
    """Return the next steps after a job, one line each."""
    return [
        f"The job's report: {Path(result.report) / 'report.html'}",
        *places_of_job(mlflow_pages(current_home()), result),
        *steps_after(result),
    ]


def _baseline_rounds(job: Job) -> int:
    """Return the rounds of a baseline, as many as the model has had in all jobs; 0 if that is not known."""
    rounds = job.config.federation.rounds
    return (job.earlier.rounds_with(rounds) or 0) if job.earlier else rounds


def _compare(job: Job) -> Compared:
    """Return the test metrics, also those of pooled training if it is allowed."""
    evaluation, rounds = job.config.evaluation, _baseline_rounds(job)
    with job.clock.measure("comparison"), job.polling(job.clock, out_of="comparison"):
        central = None
        if evaluation.pooling_allowed and rounds:
            central = train_centralised.submit(job.context, job.reachable, rounds)
        compared, times = _compare_clients(job, rounds if evaluation.silo_only else 0)
        # If a client's data have become unreadable since the check, only this baseline fails, not the job.
        pooled = central.result(raise_on_failure=False) if central else None
    pooled = pooled if isinstance(pooled, Pooled) else None
    baselines, evaluations = share_of_wall_time(
        job.clock.seconds.pop("comparison"),
        sum(each.alone_s for each in times) + (pooled.seconds if pooled else 0.0),
        sum(each.ended - each.started - each.alone_s for each in times),
    )
    job.clock.add("baselines", baselines)
    job.clock.add("evaluate", evaluations)
    return replace(compared, pooled=pooled.metrics if pooled else None)


def _compare_clients(job: Job, alone_rounds: int) -> tuple[Compared, Sequence[ClientEvaluation | SumAnswer]]:
    """Return the comparison of the final model with models of each client alone, and the answers."""
    if job.sums:
        summed = job.sums.collect(
            "compare", job.rounds[-1].round, partial(evaluation_form, job.context), alone_rounds=alone_rounds
        )
        sums = (metrics_of(part, summed.state.metrics) for part in ("metrics", "alone", "benefit"))
        published = tuple(each.published for each in summed.figures if each.published)
        return Compared(published, *sums), summed.figures
    answers = job.ask("compare", job.reachable, alone_rounds=alone_rounds).values()
    found = tuple(answer for answer in answers if isinstance(answer, ClientEvaluation))
    if job.context.noise:
        require_summands(job.context.noise, "comparison", [each.client_id for each in found])
        return Compared(metrics=total(each.metrics for each in found)), found
    parts = ([getattr(each, part) for each in found] for part in ("metrics", "alone", "benefit"))
    return Compared(found, *map(total, parts)), found


def _result(
    job: Job,
    stopped_by: FedrecError | None,
    compared: Compared,
    contracts: list[ContractSummary],
) -> JobResult:
    rounds = tuple(_round(job, record) for record in job.rounds[1:])
    return JobResult(
        job_id=job.journal.job_id,
        run_id=job.sender.run_id,
        experiment_id=job.sender.experiment_id,
        flow_run_id=job.flow_run_id,
        model_name=job.config.model_name,
        model_sha256=job.base.sha256,
        report=str(job.journal.folder / "report"),
        seed=job.config.seed,
        status="stopped" if stopped_by else "finished",
        stop_reason=str(stopped_by) if stopped_by else None,
        config=job.config.model_dump(mode="json"),
        data=_data(job),
        rounds=rounds,
        best=best_of(rounds),
        late=tuple(job.journal.late()),
        final=FinalMetrics(
            federated=_values(compared.metrics),
            centralised=_values(compared.pooled),
            silo_only=_values(compared.alone),
        ),
        clients=tuple(_client(job, each) for each in compared.clients),
        benefit=_benefit(compared.benefit),
        contracts=tuple(contracts),
        timings=_timings(job),
        continued=job.journal.opening.continued,
        earlier=job.earlier,
        left_out=_left_out(job, compared),
        user_vectors="folded_in" if job.context.family.answers_by_history else "trained",
        privacy=job.journal.opening.privacy,
        figures_noise=_figures_noise(job, compared.metrics),
    )


def _figures_noise(job: Job, metrics: Mapping[str, Metric]) -> dict[str, float] | None:
    """Return by how much noise alone moves each metric; None without noise or figures."""
    noise = job.context.noise
    if noise is None or not metrics:
        return None
    return {
        name: noise_margin(metric, noise, len(metrics), len(job.rounds[-1].accepted))
        for name, metric in metrics.items()
        if metric.weight > 0.0
    }


def _data(job: Job) -> DataFacts:
    """Return the facts about the job's data. Of silos in secure sums the first round's sums tell counts.

    With noise nobody tells them.
    """
    fit = [each for each in job.checked.values() if each.outcome.passed or each.users]
    # Data without a user keep no contract, so a silo that says so does not tell its numbers.
    is_told = bool(fit) and all(each.users for each in fit)
    is_summed = job.context.secure_sum and not (is_told or job.context.noise) and len(job.rounds) > 1
    training = job.rounds[1].training if is_summed else {}
    trained = {name: int(training[name].total) if training else None for name in (USERS, INTERACTIONS)}
    return DataFacts(
        digest=job.partition.digest,
        clients=len(job.client_ids),
        users=sum(each.users for each in fit) if is_told else None,
        items=len(job.partition.catalog),
        interactions=sum(each.interactions for each in fit) if is_told else None,
        trained_users=trained[USERS],
        trained_interactions=trained[INTERACTIONS],
    )


def _left_out(job: Job, compared: Compared) -> LeftOut | None:
    """Return the cases that do not count; None if all do."""
    notes = (job.sender.note_of(record.round) for record in reversed(job.rounds[1:]))
    evaluation = next((note.evaluation for note in notes if note and note.evaluation), None)
    none = Metric(0.0, 0.0)
    validation = evaluation.metrics.get(LEFT_OUT, none) if evaluation else none
    test = compared.metrics.get(LEFT_OUT, none)
    if not job.context.earlier_jobs:
        return None
    return LeftOut(
        validation=int(validation.total),
        validation_cases=int(validation.weight),
        test=int(test.total),
        test_cases=int(test.weight),
    )


def _timings(job: Job) -> Timings:
    return timings_of(job.clock, job.training_cpu_s, job.sender.seconds)


def _values(metrics: dict[str, Metric] | None) -> dict[str, float] | None:
    if not metrics:
        return None
    found = values(as_json(metrics))
    return {name: found[name] for name in judgement_of(found).metrics if name in found} or None


def _round(job: Job, record: RoundRecord) -> RoundResult:
    note = job.sender.note_of(record.round)
    return RoundResult(
        round=record.round,
        version=note.version if note else None,
        accepted=record.accepted,
        rejected=record.rejected,
        metrics=note.metrics if note else {},
        model_sha256=record.model_sha256,
        seconds=note.seconds if note else {},
        drift=record.drift,
        client_drift=record.client_drift or {},
        update_bytes=record.update_bytes or 0,
        download_bytes=record.download_bytes,
    )


def _client(job: Job, compared: ClientEvaluation) -> ClientResult:
    client = job.checked[compared.client_id]
    cases = next(iter(compared.metrics.values())).weight
    benefit, choice = (_benefit(sums) if cases else None for sums in (compared.benefit, compared.choice))
    return ClientResult(
        client_id=compared.client_id,
        users=client.users or None,
        interactions=client.interactions or None,
        cases=int(cases),
        federated=_values(compared.metrics),
        silo_only=_values(compared.alone),
        benefit=benefit.mean if benefit else None,
        benefit_se=benefit.standard_error if benefit else None,
        validation_benefit=choice.mean if choice else None,
        validation_benefit_se=choice.standard_error if choice else None,
        offer=offer_of(choice) if choice else "global",
    )


def _benefit(sums: dict[str, Metric]) -> Benefit | None:
    is_measured = bool(sums) and sums[DIFFERENCE].weight > 0
    return benefit_of(sums[DIFFERENCE], sums[SQUARED_DIFFERENCE]) if is_measured else None


def _explained(job: Job) -> Explanation:
    try:
        return explain(job.context.exchange, job.rounds, job.items)
    except CorruptArtifact as error:
        announce(f"The report cannot explain the model by its items. {error}")
        return NOTHING_SHOWN


def _examples(job: Job, explanation: Explanation) -> tuple[str, ...]:
    """Return two items for the printed commands, popular ones first."""
    try:
        items = job.items
    except CorruptArtifact:
        return ()
    popular = [(each.item_id, each.title) for each in explanation.neighbours]
    return example_items([*popular, *zip(items["item_id"], items["title"], strict=True)])


def _send(job: Job, result: JobResult, explanation: Explanation) -> None:
    tables: dict[str, Table] = {
        "clients/benefit.json": [as_json_object(each) for each in result.clients],
        "drift/clients.json": [
            {"round": one.round, "client_id": client_id, **as_json_object(drift)}
            for one in result.rounds
            for client_id, drift in one.client_drift.items()
        ],
        "contracts/outcomes.json": [as_json_object(each) for each in result.contracts],
        "items/moved.json": [
            {"since": one.since, "until": one.until, **as_json_object(item)}
            for one in explanation.moved
            for item in one.items
        ],
        "items/neighbours.json": [
            {
                "title": one.title,
                "alike": other.title,
                "similarity": other.similarity,
                "item_id": one.item_id,
                "alike_id": other.item_id,
            }
            for one in explanation.neighbours
            for other in one.alike
        ],
    }
    metrics = metrics_of_result(result)
    outcome = " ".join([verdict(result), *notes(result)])
    job.send(ResultMessage(result=result, metrics=metrics, tables=tables, outcome=outcome))
    job.tracking.drain(job.clock)
    if job.sender.silence is not None:
        announce(
            f"MLflow is still unavailable. {job.sender.outbox.count()} records wait in "
            f"{job.journal.folder / 'outbox'}. "
            "The next fedrec train, fedrec promote or housekeeping sends them."
        )
    if job.sender.refused:
        announce(
            f"MLflow lacks {len(job.sender.refused)} records of the job, which are set aside. "
            f"fedrec outbox list shows why. fedrec outbox retry {job.journal.job_id} sends them again."
        )
