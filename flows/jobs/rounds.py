"""One round: plan, send orders, wait, merge, check and commit, then evaluate and track."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from data_contracts.outcome import ContractOutcome
from flows.jobs.job import Job
from flows.jobs.late import note_late_updates
from flows.jobs.prerequisites import require_willing
from flows.jobs.privacy import require_summands, without_figures
from flows.jobs.secure_sums import SecureSums, Summed
from flows.terminal.progress import announce
from models.errors import ContractViolation
from models.evaluation.judgement import RANKINGS, RATINGS
from models.evaluation.trained_pairs import LEFT_OUT
from models.federation.fixed_point import CLIPPED
from models.federation.rounds import Rejection, RoundPlan, is_evaluated, plan_round
from models.kernel.metric import Metric, as_json, total, values
from models.promotion.evidence import RoundEvaluation
from tasks.clients.check_data import judge
from tasks.coordinator.check_merged import check_merged
from tasks.coordinator.merge_round import Merged, merge_round
from tasks.coordinator.merge_sum import merge_sum
from tasks.coordinator.model_steps import store_step
from tasks.exchange.layout import updates_folder
from tasks.exchange.models import fetch_model
from tasks.jobs.journal import round_subject
from tasks.jobs.stopwatch import Stopwatch, busy_seconds, share_of_wall_time
from tasks.messages.answers import Checked, ClientEvaluation, Declined, Delivery, Profiled
from tasks.messages.outbox_messages import BreachMessage, LineageMessage, RoundMessage
from tasks.messages.round_record import RoundRecord, TrackedRound
from tasks.messages.sum_forms import evaluation_form, metrics_of, training_form
from tasks.privacy.own_log import note
from tasks.tracking.metric_names import metrics_of_round

# Rejected clients that a round's line names.
_NAMED = 3


def check_silos(job: Job) -> None:
    """Check every client's data against the interactions contract. Clients that break it are rejected.

    Raises:
        QuorumNotReached: the owners of too many silos do not let them take part in the job.
    """
    announce(f"Checking the data of {len(job.client_ids)} silos against the interactions contract.")
    with job.clock.measure("contracts"):
        limits = job.config.contracts.interactions
        answers = job.ask("check", job.client_ids, limits=limits)
        # A silo judged itself. The local clients are judged together.
        declined: dict[str, Declined] = {}
        profiled = {client_id: each for client_id, each in answers.items() if isinstance(each, Profiled)}
        for client_id, answer in (answers | judge(profiled, limits)).items():
            if isinstance(answer, Checked):
                told = without_figures(answer) if job.context.noise else answer
                outcome = told.outcome
                job.journal.add_outcome(client_id, outcome.contract, outcome.to_json())
                # The details are in the journal. Those of ten thousand clients would fill a quarter gigabyte.
                job.checked[client_id] = replace(told, outcome=replace(outcome, result={}))
                if not outcome.passed:
                    reason = _breach(job, client_id, answer.outcome, is_local=client_id in profiled)
                    job.unfit[client_id] = Rejection(client_id, "interactions", reason)
            elif isinstance(answer, Declined):
                declined[client_id] = answer
                job.unfit[client_id] = Rejection(client_id, "policy", f"it {answer}")
            elif isinstance(answer, Exception):
                job.unfit[client_id] = Rejection(client_id, "interactions", str(answer))
            else:
                job.unfit[client_id] = Rejection(
                    client_id, "deadline", f"{answer} when its data were checked"
                )
    places = {client.id: client.path.as_uri() for client in job.partition.clients}
    data = {name: (each.digest, places[name]) for name, each in job.checked.items()}
    job.send(LineageMessage(data=data))
    require_willing(job, declined)


def _breach(job: Job, client_id: str, outcome: ContractOutcome, *, is_local: bool) -> str:
    """Return how a client's data break the interactions contract; with noise, where that is written."""
    if not job.context.noise:
        return outcome.summary()
    where = "the silo's own log"
    if is_local:
        where = f"the client's own log {note(Path(job.context.silos_dir) / client_id, outcome.summary())}"
    return f"Its data break the interactions contract; {where} has the details."


def run_round(job: Job) -> None:
    """Commit one more round, evaluate it if due, and track it.

    Raises:
        QuorumNotReached: there are too few usable updates. The previous model stays the newest.
        ContractViolation: the merged model breaks its contract. The previous model stays the newest.
    """
    federation, clock = job.config.federation, Stopwatch()
    note_late_updates(job)
    plan = plan_round(
        job.rounds[-1].round + 1,
        seed=job.config.seed,
        clients=job.client_ids,
        cohort_share=federation.cohort_share,
        quorum_share=federation.quorum_share,
    )
    if job.context.noise:
        job.journal.note_asked()
    with clock.measure("fan_out"), job.polling(clock):
        if job.sums:
            summed = _train_in_sum(job, job.sums, plan)
            deliveries, missing = summed.deliveries, [*_unfit(job, plan), *summed.missing]
        else:
            summed = None
            deliveries, missing = _train_cohort(job, plan)
    transfer_s = sum(each.transfer_s for each in deliveries)
    working_s = sum(each.ended - each.started for each in deliveries)
    busy = busy_seconds([(each.started, each.ended) for each in deliveries])
    train, transfer = share_of_wall_time(busy, working_s - transfer_s, transfer_s)
    clock.add_all(Stopwatch(seconds={"train": train, "transfer": transfer}))
    job.training_cpu_s += sum(each.lightfm_s for each in deliveries)
    with clock.measure("merge"):
        if summed:
            merged = merge_sum(
                job.context,
                plan,
                job.rule,
                job.base,
                summed.sums,
                missing,
                summed.bytes,
                federation.robust,
            )
        else:
            merged = merge_round(
                job.context,
                plan,
                job.rule,
                job.base,
                deliveries,
                missing,
                job.context.update_limits,
                {client_id: checked.interactions for client_id, checked in job.checked.items()},
                federation.robust,
            )
    with clock.measure("contracts"):
        checked = _check(job, plan, merged)
    record = _record(job, plan, merged, checked, deliveries, summed)
    step = store_step(job.context, job.rule, job.base, merged, job.done) if job.offers_steps else None
    job.tracking.background.make_durable()
    job.journal.commit(record)
    job.rounds.append(record)
    job.downloads.offer(step)
    follow_up(job, clock)


def finish_tracking(job: Job) -> None:
    """Track the newest committed round if a crash prevented that."""
    newest = job.rounds[-1].round
    if newest and job.sender.note_of(newest) is None:
        follow_up(job, Stopwatch(), again=True)


def follow_up(job: Job, clock: Stopwatch, *, again: bool = False) -> None:
    """Evaluate the newest committed round if due, track it, and note that in the journal.

    Args:
        job: the job.
        clock: the round's wall seconds by activity.
        again: whether a crash interrupted an earlier try. Its times are lost or already logged.
    """
    record, rounds = job.rounds[-1], job.config.federation.rounds
    is_due = is_evaluated(record.round, every=job.config.evaluation.every, rounds=rounds)
    with clock.measure("evaluate"), job.polling(clock, out_of="evaluate"):
        evaluation = _evaluate(job) if is_due and job.has_figures else None
    job.tracking.keep_pace(clock)
    metrics = _values("training", record.training)
    if evaluation:
        metrics |= _values("validation", evaluation.metrics)
    # After a crash the clock has only the times of this try.
    shown = metrics_of_round(record, metrics, {} if again else clock.seconds)
    if job.machine:
        shown |= job.machine.means()
    seconds = {**clock.seconds, "total": clock.elapsed}
    note = TrackedRound(version=None, metrics=metrics, evaluation=evaluation, seconds=seconds)
    # Under one guard: a process that loses its lease in between could remove updates that another merges.
    with job.journal.guarded():
        job.send(RoundMessage(record=record.with_evaluation(evaluation), metrics=shown, note=note))
        # A late client may still write there. The next round removes the rest.
        with contextlib.suppress(OSError):
            job.context.exchange.remove(updates_folder(job.journal.job_id))
    job.clock.add_all(clock)
    announce(_line(record, metrics, clock.elapsed), record.round, rounds)


def _train_cohort(job: Job, plan: RoundPlan) -> tuple[list[Delivery], list[Rejection]]:
    """Return the cohort's updates before the deadline, and the clients without one and why."""
    missing = [
        *_unfit(job, plan),
        *(each for name, each in job.busy.items() if name in plan.cohort and name not in job.unfit),
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


def _unfit(job: Job, plan: RoundPlan) -> list[Rejection]:
    """Return the clients of the cohort whose data broke the interactions contract, or that take no part."""
    return [job.unfit[client_id] for client_id in plan.cohort if client_id in job.unfit]


def _train_in_sum(job: Job, sums: SecureSums, plan: RoundPlan) -> Summed:
    """Return the secure sums of the cohort's updates."""
    sums.prepare(plan.round)
    base = fetch_model(job.context.exchange_url, job.base)
    return sums.collect(
        "train", plan.round, lambda members: training_form(job.context, job.rule, base, members)
    )


def _check(job: Job, plan: RoundPlan, merged: Merged) -> ContractOutcome:
    """Return the outcome of the embeddings contract if the model passes it.

    Raises:
        ContractViolation: the model breaks it. The outcome is tracked before this is raised.
    """
    outcome = check_merged(job.context, plan.round, merged.model, job.base, job.config.contracts.embeddings)
    for each in (merged.outcome, outcome):
        job.journal.add_outcome(round_subject(plan.round), each.contract, each.to_json())
    if not outcome.passed:
        job.send(BreachMessage(round=plan.round, subject=outcome.subject, text=outcome.to_json()))
        raise ContractViolation(
            f"The model of round {plan.round} was refused, and the one of round {plan.round - 1} stays. "
            f"{outcome.summary()}",
            next_step="Check the round's updates in the job's report, or relax contracts.embeddings.",
            round=plan.round,
            outcome=outcome,
        )
    return outcome


def _record(
    job: Job,
    plan: RoundPlan,
    merged: Merged,
    checked: ContractOutcome,
    deliveries: Sequence[Delivery],
    summed: Summed | None,
) -> RoundRecord:
    is_unfit = any(each.stage == "interactions" for each in _unfit(job, plan))
    return RoundRecord(
        job_id=job.journal.job_id,
        round=plan.round,
        model_path=merged.model.path,
        model_sha256=merged.model.sha256,
        model_bytes=merged.model.size,
        base_sha256=job.base.sha256,
        catalog_digest=job.partition.catalog.digest,
        data_digest=job.partition.digest,
        accepted=merged.accepted,
        rejected=merged.rejected,
        contracts={
            "interactions": "breached" if is_unfit else "passed",
            "updates": "passed" if merged.outcome.passed else "breached",
            "embeddings": "passed" if checked.passed else "breached",
        },
        training=merged.training,
        lease=job.journal.token,
        committed_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        update_bytes=merged.update_bytes,
        download_bytes=sum(job.downloads.size_for(each.client_id, job.base) for each in deliveries)
        + (summed.request_bytes if summed else 0),
        drift=merged.drift,
        client_drift=merged.client_drift,
        # Local clients keep no egress ledger.
        egress={each.client_id: each.egress for each in deliveries if each.egress},
        earlier=job.earlier,
        evaluation_seed=job.config.evaluation.seed,
        privacy=job.journal.opening.privacy,
    )


def _evaluate(job: Job) -> RoundEvaluation:
    """Return every client's sums over its validation cases, and the totals. With noise there are totals only.

    Raises:
        QuorumNotReached: too few clients answered for a secure sum, or for enough noise.
    """
    if job.sums:
        summed = job.sums.collect("evaluate", job.rounds[-1].round, partial(evaluation_form, job.context))
        # Nobody learns how a single client fares.
        return RoundEvaluation("validation", metrics_of("metrics", summed.state.metrics), {})
    answers = job.ask("evaluate", job.reachable)
    found = {
        client_id: each.metrics for client_id, each in answers.items() if isinstance(each, ClientEvaluation)
    }
    if job.context.noise:
        require_summands(job.context.noise, "evaluation", found)
        return RoundEvaluation("validation", total(found.values()), {})
    return RoundEvaluation(split="validation", metrics=total(found.values()), clients=found)


def _values(split: str, metrics: Mapping[str, Metric]) -> dict[str, float]:
    return {f"{split}/{name}": value for name, value in values(as_json(metrics)).items()}


def _line(record: RoundRecord, metrics: Mapping[str, float], seconds: float) -> str:
    cohort = len(record.accepted) + len(record.rejected)
    parts = [f"{len(record.accepted)} of {cohort} updates"]
    for judgement in (RANKINGS, RATINGS):
        quality = metrics.get(f"validation/{judgement.quality}")
        if quality is not None:
            parts.append(f"validation {judgement.quality_label} {quality:.4f}")
            break
    if share := metrics.get(f"validation/{LEFT_OUT}"):
        parts.append(f"{share:.0%} of the validation cases left out")
    clipped = record.training.get(CLIPPED)
    if clipped and clipped.total:
        parts.append(f"{clipped.total:.0f} of {clipped.weight:.0f} values clipped")
    line = ", ".join([*parts, f"{seconds:.1f} s"])
    if not record.rejected:
        return line
    named = ", ".join(f"{each.client_id} ({each.stage})" for each in record.rejected[:_NAMED])
    more = f" and {len(record.rejected) - _NAMED} more" if len(record.rejected) > _NAMED else ""
    return f"{line}; rejected: {named}{more}"
