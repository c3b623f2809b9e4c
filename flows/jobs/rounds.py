"""One round: plan, fan out, wait, merge, check, commit; then evaluate and track what is committed."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from data_contracts.outcome import ContractOutcome
from flows.jobs.job import Job
from flows.jobs.late import note_late_updates
from flows.terminal.progress import announce
from models.errors import ContractViolation
from models.evaluation.judgement import RANKINGS, RATINGS
from models.federation.rounds import Rejection, RoundPlan, plan_round
from models.kernel.metric import as_json, total, values
from tasks.coordinator.check_merged import check_merged
from tasks.coordinator.merge_round import Merged, merge_round
from tasks.jobs.stopwatch import Stopwatch, busy_seconds, share_of_wall_time
from tasks.messages.answers import Checked, Delivery, Evaluation


def check_silos(job: Job) -> None:
    """Clients whose data break the interactions contract are known as unfit, and will be rejected."""
    announce(f"Checking the data of {len(job.client_ids)} silos against the interactions contract.")
    with job.clock.measure("contracts"):
        limits = job.config.contracts.interactions
        for client_id, answer in job.ask("check", job.client_ids, limits=limits).items():
            if isinstance(answer, Checked):
                outcome = answer.outcome
                job.checked[client_id] = answer
                job.journal.add_outcome(client_id, outcome.contract, outcome.to_json())
                if not outcome.passed:
                    job.unfit[client_id] = Rejection(client_id, "interactions", outcome.summary())
            elif isinstance(answer, Exception):
                job.unfit[client_id] = Rejection(client_id, "interactions", str(answer))
            else:
                job.unfit[client_id] = Rejection(
                    client_id, "deadline", f"{answer} when its data were checked"
                )
    places = {client.id: client.path.as_uri() for client in job.partition.clients}
    job.tell("lineage", data={name: (each.digest, places[name]) for name, each in job.checked.items()})


def run_round(job: Job) -> None:
    """One more round is committed, evaluated where due, and tracked.

    Raises:
        QuorumNotReached: too few usable updates; the previous model stays the newest.
        ContractViolation: the merged model breaks its contract; likewise.
    """
    federation, clock = job.config.federation, Stopwatch()
    note_late_updates(job)
    plan = plan_round(
        job.rounds[-1]["round"] + 1,
        seed=job.config.seed,
        clients=job.client_ids,
        cohort_share=federation.cohort_share,
        quorum_share=federation.quorum_share,
    )
    with clock.measure("fan_out"), job.polling(clock):
        deliveries, missing = _train_cohort(job, plan)
    transfer_s = sum(each.transfer_s for each in deliveries)
    working_s = sum(each.ended - each.started for each in deliveries)
    busy = busy_seconds([(each.started, each.ended) for each in deliveries])
    train, transfer = share_of_wall_time(busy, working_s - transfer_s, transfer_s)
    clock.add_all(Stopwatch(seconds={"train": train, "transfer": transfer}))
    job.lightfm_s += sum(each.lightfm_s for each in deliveries)
    with clock.measure("merge"):
        merged = merge_round(
            job.context, plan, job.rule, job.base, deliveries, missing, job.config.contracts.updates
        )
    with clock.measure("contracts"):
        checked = _check(job, plan, merged)
    manifest = _manifest(job, plan, merged, checked) | {"egress": _egress_heads(deliveries)}
    job.journal.commit(manifest)
    job.rounds.append(manifest)
    follow_up(job, clock)


def finish_tracking(job: Job) -> None:
    """The newest committed round is tracked, also where a crash came between its commit and its tracking."""
    newest = job.rounds[-1]["round"]
    if newest and job.relay.note_of(newest) is None:
        follow_up(job, Stopwatch(), again=True)


def follow_up(job: Job, clock: Stopwatch, *, again: bool = False) -> None:
    """The newest committed round is evaluated where due, tracked, and noted as tracked.

    Args:
        job: whose round.
        clock: where the round's time went.
        again: whether a crash interrupted an earlier try, whose times are lost or logged already.
    """
    manifest, rounds = job.rounds[-1], job.config.federation.rounds
    round_ = manifest["round"]
    is_due = round_ % job.config.evaluation.every == 0 or round_ == rounds
    with clock.measure("evaluate"), job.polling(clock, out_of="evaluate"):
        evaluation = _evaluate(job) if is_due else None
    record = manifest | {"evaluation": evaluation}
    metrics = {f"training/{name}": value for name, value in values(manifest["training"]).items()}
    if evaluation:
        metrics |= {f"validation/{name}": value for name, value in values(evaluation["metrics"]).items()}
    shown = metrics | {
        "clients/accepted": len(manifest["accepted"]),
        "clients/rejected": len(manifest["rejected"]),
        "update_bytes": manifest["update_bytes"],
        "drift": manifest["drift"],
        **{f"seconds/{name}": seconds for name, seconds in clock.seconds.items() if not again},
    }
    seconds = {**clock.seconds, "total": clock.elapsed}
    note = {"version": None, "metrics": metrics, "evaluation": evaluation, "seconds": seconds}
    # As one step: whoever was taken over in the middle of it would remove what the other one is merging.
    with job.journal.guarded():
        job.tell("round", record=record, metrics=shown, note=note)
        # A late client may be writing there; what is left goes with the next round's.
        with contextlib.suppress(OSError):
            job.context.exchange.remove(f"{job.journal.job_id}/updates")
    job.clock.add_all(clock)
    announce(_line(manifest, metrics), round_, rounds)


def _train_cohort(job: Job, plan: RoundPlan) -> tuple[list[Delivery], list[Rejection]]:
    """What the cohort delivered before the deadline, and who delivered nothing and why."""
    missing = [job.unfit[client_id] for client_id in plan.cohort if client_id in job.unfit]
    missing += [
        Rejection(client_id, "deadline", "still at work on what it was asked before")
        for client_id in sorted(job.at_work.intersection(plan.cohort) - job.unfit.keys())
    ]
    kept_out = {rejection.client_id for rejection in missing}
    asked = [client_id for client_id in plan.cohort if client_id not in kept_out]
    deliveries = []
    for client_id, answer in job.ask("train", asked).items():
        if isinstance(answer, Delivery):
            deliveries.append(answer)
        elif isinstance(answer, Exception):
            missing.append(Rejection(client_id, "training", f"{type(answer).__name__}: {answer}"))
        else:
            missing.append(Rejection(client_id, "deadline", str(answer)))
    return deliveries, missing


def _check(job: Job, plan: RoundPlan, merged: Merged) -> ContractOutcome:
    """The outcome of the embeddings contract, which holds.

    Raises:
        ContractViolation: it does not; that is tracked before it is raised.
    """
    outcome = check_merged(job.context, plan.round, merged.model, job.base, job.config.contracts.embeddings)
    for each in (merged.outcome, outcome):
        job.journal.add_outcome(f"round-{plan.round:06d}", each.contract, each.to_json())
    if not outcome.passed:
        job.tell("breach", round=plan.round, subject=outcome.subject, text=outcome.to_json())
        raise ContractViolation(
            f"The model of round {plan.round} was refused and the one of round {plan.round - 1} stays. "
            f"{outcome.summary()}",
            next_step="Look at the round's updates in the job's report, or loosen contracts.embeddings.",
            round=plan.round,
            outcome=outcome,
        )
    return outcome


def _manifest(job: Job, plan: RoundPlan, merged: Merged, checked: ContractOutcome) -> dict[str, Any]:
    return {
        "format": 1,
        "job_id": job.journal.job_id,
        "round": plan.round,
        "model_path": merged.model.path,
        "model_sha256": merged.model.sha256,
        "model_bytes": merged.model.size,
        "base_sha256": job.base.sha256,
        "catalog_digest": job.partition.catalog.digest,
        "data_digest": job.partition.digest,
        "accepted": list(merged.accepted),
        "rejected": [vars(rejection) for rejection in merged.rejected],
        "contracts": {
            "interactions": "breached" if job.unfit.keys() & set(plan.cohort) else "passed",
            "updates": "passed" if merged.outcome.passed else "breached",
            "embeddings": "passed" if checked.passed else "breached",
        },
        "training": as_json(merged.training),
        "update_bytes": merged.update_bytes,
        "drift": merged.drift,
        "client_drift": {client_id: asdict(each) for client_id, each in merged.client_drift.items()},
        "lease": job.journal.token,
        "committed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
    }


def _egress_heads(deliveries: list[Delivery]) -> dict[str, Any]:
    """Of the silos' egress ledgers, by silo, as each signed it with its update; none of local clients."""
    return {each.client_id: vars(each.egress) for each in deliveries if each.egress}


def _evaluate(job: Job) -> dict[str, Any]:
    """Every client's sums over its validation cases, and their totals."""
    answers = job.ask("evaluate", job.reachable)
    found = {client_id: each.metrics for client_id, each in answers.items() if isinstance(each, Evaluation)}
    return {
        "split": "validation",
        "metrics": as_json(total(found.values())),
        "clients": {client_id: as_json(metrics) for client_id, metrics in found.items()},
    }


def _line(manifest: dict[str, Any], metrics: dict[str, float]) -> str:
    clients = f"{len(manifest['accepted'])} clients"
    if manifest["rejected"]:
        clients += f", {len(manifest['rejected'])} rejected"
    for judgement in (RANKINGS, RATINGS):
        quality = metrics.get(f"validation/{judgement.quality}")
        if quality is not None:
            return f"{clients}, validation {judgement.quality_label} {quality:.4f}"
    return clients
