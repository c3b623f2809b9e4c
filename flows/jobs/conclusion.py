"""The end of a job: comparisons on the test cases, the result, the report, and everything logged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_contracts.outcome import ContractOutcome
from flows.jobs.job import Job
from flows.jobs.late import note_late_updates
from flows.terminal.progress import announce
from models.errors import CorruptArtifact, FedrecError
from models.evaluation.benefit import DIFFERENCE, SQUARED_DIFFERENCE, Benefit, benefit_of, offer_of
from models.evaluation.judgement import judgement_of
from models.kernel.metric import Metric, as_json, total, values
from tasks.datasets.partition_reader import read_items
from tasks.jobs.stopwatch import share_of_wall_time
from tasks.jobs.timings import timings_of
from tasks.messages.answers import Evaluation
from tasks.pooling.train_centralised import Pooled, train_centralised
from tasks.reports.data_docs import build_data_docs
from tasks.reports.explanation import NOTHING_SHOWN, Explanation, explain, write_explanation
from tasks.reports.report import write_report


def conclude(job: Job, stopped_by: FedrecError | None) -> dict[str, Any]:
    """The job has a result, in its folder and in MLflow; returns it.

    Args:
        job: all its rounds are committed, or it was stopped.
        stopped_by: why it was stopped before its last round; it can go on later.
    """
    compared: list[Evaluation] = []
    pooled: dict[str, Metric] | None = None
    if stopped_by is None:
        announce("Comparing with each silo alone and with pooled training on the test cases.")
        compared, pooled = _compare(job)
    note_late_updates(job, everywhere=True)
    announce("Writing the report and the Data Docs.")
    with job.journal.guarded():
        return _concluded(job, stopped_by, compared, pooled)


def _concluded(
    job: Job,
    stopped_by: FedrecError | None,
    compared: list[Evaluation],
    pooled: dict[str, Metric] | None,
) -> dict[str, Any]:
    folder = job.journal.folder / "report"
    with job.clock.measure("report"):
        outcomes = [ContractOutcome.from_json(text) for text in job.journal.outcomes()]
        build_data_docs(outcomes, folder / "data_docs")
        result = _result(job, stopped_by, compared, pooled, outcomes)
        explanation = _explained(job)
        write_explanation(explanation, folder / "explanation.json")
        write_report(result, folder / "report.html", explanation=explanation, open_next=open_next(folder))
    result["timings"] = timings_of(job.clock, job.lightfm_s)
    _tell(job, result, explanation)
    result = job.relay.completed(result) | {"timings": timings_of(job.clock, job.lightfm_s)}
    # Last, because a job with a result is over: interrupted before, the same command concludes it again.
    job.journal.conclude(result)
    return result


def open_next(report: Path) -> list[str]:
    """What to look at after a job whose report lies in this folder."""
    return [
        f"The job's report: {report / 'report.html'}",
        "Every round, its contracts and its versions in MLflow's and Prefect's UIs: `make ui`",
        "Put the newest version through the gates: `fedrec promote`",
        'Ask the champion: `fedrec recommend --history "Toy Story,Star Wars" -k 10`',
    ]


def _compare(job: Job) -> tuple[list[Evaluation], dict[str, Metric] | None]:
    """Every client's test metrics, and those of pooled training where it is allowed."""
    evaluation = job.config.evaluation
    rounds = job.config.federation.rounds
    with job.clock.measure("comparison"), job.polling(job.clock, out_of="comparison"):
        central = None
        if evaluation.pooling_allowed:
            central = train_centralised.submit(job.context, job.reachable, rounds)
        answers = job.ask("compare", job.reachable, alone_rounds=rounds if evaluation.silo_only else 0)
        # A client whose data became unreadable since they were checked costs this baseline, not the job.
        pooled = central.result(raise_on_failure=False) if central else None
    compared = [answer for answer in answers.values() if isinstance(answer, Evaluation)]
    pooled = pooled if isinstance(pooled, Pooled) else None
    baselines, evaluations = share_of_wall_time(
        job.clock.seconds.pop("comparison"),
        sum(each.alone_s for each in compared) + (pooled.seconds if pooled else 0.0),
        sum(each.ended - each.started - each.alone_s for each in compared),
    )
    job.clock.add("baselines", baselines)
    job.clock.add("evaluate", evaluations)
    return compared, pooled.metrics if pooled else None


def _result(
    job: Job,
    stopped_by: FedrecError | None,
    compared: list[Evaluation],
    pooled: dict[str, Metric] | None,
    outcomes: list[ContractOutcome],
) -> dict[str, Any]:
    alone = total(each.alone for each in compared)
    return {
        "job_id": job.journal.job_id,
        "run_id": job.relay.run_id,
        "flow_run_id": job.flow_run_id,
        "model_name": job.config.model_name,
        "model_sha256": job.base.sha256,
        "report": str(job.journal.folder / "report"),
        "seed": job.config.seed,
        "status": "stopped" if stopped_by else "finished",
        "stop_reason": str(stopped_by) if stopped_by else None,
        "config": job.config.model_dump(mode="json"),
        "data": {
            "digest": job.partition.digest,
            "clients": len(job.client_ids),
            "users": sum(checked.users for checked in job.checked.values()),
            "items": len(job.partition.catalog),
            "interactions": sum(checked.interactions for checked in job.checked.values()),
        },
        "rounds": [_round(job, manifest) for manifest in job.rounds[1:]],
        "late": job.journal.late(),
        "final": {
            "federated": _values(total(each.metrics for each in compared)),
            "centralised": _values(pooled),
            "silo_only": _values(alone),
        },
        "clients": [_client(job, each) for each in compared],
        "contracts": [
            {
                "contract": outcome.contract,
                "subject": outcome.subject,
                "passed": outcome.passed,
                "summary": outcome.summary(),
            }
            for outcome in outcomes
        ],
        "timings": timings_of(job.clock, job.lightfm_s),
    }


def _values(metrics: dict[str, Metric] | None) -> dict[str, float] | None:
    if not metrics:
        return None
    found = values(as_json(metrics))
    return {name: found[name] for name in judgement_of(found).metrics if name in found} or None


def _round(job: Job, manifest: dict[str, Any]) -> dict[str, Any]:
    tracked = job.relay.note_of(manifest["round"]) or {}
    return {
        "round": manifest["round"],
        "version": tracked.get("version"),
        "accepted": manifest["accepted"],
        "rejected": manifest["rejected"],
        "metrics": tracked.get("metrics", {}),
        "model_sha256": manifest["model_sha256"],
        "seconds": tracked.get("seconds", {}),
        "drift": manifest["drift"],
        "client_drift": manifest.get("client_drift") or {},
        "update_bytes": manifest["update_bytes"],
    }


def _client(job: Job, compared: Evaluation) -> dict[str, Any]:
    client = job.checked[compared.client_id]
    cases = next(iter(compared.metrics.values())).weight
    benefit, choice = (_benefit(sums) if cases else None for sums in (compared.benefit, compared.choice))
    return {
        "client_id": compared.client_id,
        "users": client.users,
        "interactions": client.interactions,
        "cases": int(cases),
        "federated": _values(compared.metrics),
        "silo_only": _values(compared.alone),
        "benefit": benefit.mean if benefit else None,
        "benefit_se": benefit.standard_error if benefit else None,
        "validation_benefit": choice.mean if choice else None,
        "validation_benefit_se": choice.standard_error if choice else None,
        "offer": offer_of(choice) if choice else "global",
    }


def _benefit(sums: dict[str, Metric]) -> Benefit | None:
    return benefit_of(sums[DIFFERENCE], sums[SQUARED_DIFFERENCE]) if sums else None


def _explained(job: Job) -> Explanation:
    try:
        return explain(job.context.exchange, job.rounds, read_items(job.partition))
    except CorruptArtifact as error:
        announce(f"The report shows nothing of the items. {error}")
        return NOTHING_SHOWN


def _tell(job: Job, result: dict[str, Any], explanation: Explanation) -> None:
    metrics = {
        f"test/{side}/{name}": value
        for side, side_metrics in result["final"].items()
        for name, value in (side_metrics or {}).items()
    }
    metrics |= {f"timings/{name}": value for name, value in result["timings"].items() if value is not None}
    tables = {
        "clients/benefit.json": result["clients"],
        "drift/clients.json": [
            {"round": one["round"], "client_id": client_id, **drift}
            for one in result["rounds"]
            for client_id, drift in one["client_drift"].items()
        ],
        "contracts/outcomes.json": result["contracts"],
        "items/moved.json": [
            {"since": one["since"], "until": one["until"], **item}
            for one in explanation["moved"]
            for item in one["items"]
        ],
        "items/neighbours.json": [
            {
                "title": one["title"],
                "alike": other["title"],
                "similarity": other["similarity"],
                "item_id": one["item_id"],
                "alike_id": other["item_id"],
            }
            for one in explanation["neighbours"]
            for other in one["alike"]
        ],
    }
    job.tell("result", result=result, metrics=metrics, tables=tables)
    if job.relay.silence is not None:
        announce(
            f"MLflow is still away: {job.relay.waiting()} records wait in {job.journal.folder / 'outbox'}. "
            "The next fedrec train, fedrec promote or housekeeping sends them."
        )
