"""A silo's work on one order of the coordinator, up to the signed answer in the exchange."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from data_contracts.outcome import ContractOutcome
from models.errors import EgressRefused
from models.federation.envelope import AnswerContext
from tasks.clients.check_data import judge, profile_client
from tasks.clients.evaluate import compare_client, evaluate_client
from tasks.clients.sum_member import SumRules
from tasks.clients.sum_steps import SUM_STEPS
from tasks.clients.train import train_and_put
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.datasets.snapshot import forget_snapshots, take_snapshot
from tasks.datasets.source import Source
from tasks.exchange.layout import silo_answers_folder, silo_job_folder, silo_updates_folder
from tasks.exchange.silo_updates import forget_earlier_updates
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.local.home import Home
from tasks.messages.answers import Answer, Checked, Delivery, answer_as_json
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import StepOrder
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.guarded_exchange import Border, GuardedExchange, Policy
from tasks.silos.keys import load_key
from tasks.silos.signed_answers import sign_answer
from tasks.silos.sum_policy import (
    declined,
    privacy_of,
    require_promise,
    require_sum,
    sum_rules,
    too_little_noise,
    without_counts,
)


@dataclass(frozen=True)
class Silo:
    """A silo as its owner configured it.

    Attributes:
        home: its own folder.
        name: the client id.
        exchange_url: the folder shared with the coordinator.
        source: the source of its interactions.
        policy: what may leave it.
        min_users: the least number of users with which an update or figures may leave.
        keep_jobs: number of newest jobs whose snapshots and answers are kept.
        min_cohort: the least number of members of a secure sum in which the silo takes part.
        plain: whether updates and figures may also leave outside of secure sums.
        max_epsilon: the largest epsilon of a job that it takes part in; None for any job.
        publish: what leaves readable beside secure sums.
    """

    home: Home
    name: str
    exchange_url: str
    source: Source
    policy: Policy
    min_users: int
    keep_jobs: int = 10
    min_cohort: int = 3
    plain: bool = True
    publish: tuple[str, ...] = ()
    max_epsilon: float | None = None


def perform_step(silo: Silo, step_order: StepOrder) -> tuple[ArtifactRef, ...]:
    """Do the step and put its signed answer into the exchange; return what was put there, the answer last.

    The silo uses its own paths and data, whatever paths the order names.

    Raises:
        EgressRefused: the order is for another silo, or its answer must not leave; the ledger records the
            refusal.
        LedgerTampered: the egress ledger is not the one whose head the silo signed before.
        FedrecError: the step cannot be done; a retry cannot succeed.
    """
    ledger = EgressLedger(silo.home)
    try:
        return _answered(silo, step_order, ledger)
    except EgressRefused as error:
        # The border records an object that it refuses, with the object's size and fields.
        if not error.facts.get("is_recorded"):
            _record_refusal(ledger, step_order, error)
        raise


def _answered(silo: Silo, step_order: StepOrder, ledger: EgressLedger) -> tuple[ArtifactRef, ...]:
    order = step_order.order
    if order.client_id != silo.name:
        raise EgressRefused(f"Silo {silo.name!r} received an order for {order.client_id!r}.")
    ledger.require(step_order.witnessed)
    # At the check, so that the coordinator knows before any silo trains.
    if why := declined(silo, order.job):
        refusal = too_little_noise(silo, order.job, why)
        if step_order.step != "check":
            raise refusal
        _record_refusal(ledger, step_order, refusal)
        _note(silo.home, f"{refusal}\n")
        exchange = _guarded(silo, order, ledger)
        _put_answer(silo, step_order, exchange, ledger, why)
        return tuple(exchange.left)
    snapshot = _snapshot(silo, step_order)
    _require_users(silo, step_order, snapshot)
    require_sum(silo, step_order)
    require_promise(silo, step_order)
    job = replace(
        order.job,
        exchange_url=silo.exchange_url,
        data_dir=str(snapshot.root),
        data_digest=snapshot.digest,
        silos_dir=str(silo.home.silos),
    )
    order = replace(order, job=job)
    exchange = _guarded(silo, order, ledger)
    rules = sum_rules(silo)
    answer = _perform(replace(step_order, order=order), exchange, rules)
    if isinstance(answer, Checked):
        if not answer.outcome.passed:
            _note(silo.home, answer.outcome.summary() + "\n")
        answer = replace(answer, outcome=without_values(answer.outcome))
        if job.secure_sum or job.noise or not silo.plain:
            answer = without_counts(answer, rules)
    _put_answer(silo, step_order, exchange, ledger, answer)
    return tuple(exchange.left)


def _guarded(silo: Silo, order: ClientOrder, ledger: EgressLedger) -> GuardedExchange:
    border = Border(
        ledger,
        silo.policy,
        silo.name,
        order.job.job_id,
        order.round,
        changes=tuple(each.name for each in order.job.postprocessors),
        members=len(order.sum.one[1]) if order.sum and order.sum.request else 0,
        privacy=privacy_of(silo, order.job),
    )
    return GuardedExchange(silo.exchange_url, border)


def _put_answer(
    silo: Silo, step_order: StepOrder, exchange: GuardedExchange, ledger: EgressLedger, answer: Answer
) -> None:
    order, job_id = step_order.order, step_order.order.job.job_id
    kind = order.answer_kind(step_order.step)
    context = AnswerContext(silo.name, kind, job_id, order.round, order.base.sha256)
    # The head already covers the step's update. It cannot cover the answer that carries it. The answer's own
    # entry comes next, with the SHA-256 by which the coordinator knows the answer.
    body = answer_as_json(answer) | {"egress": vars(ledger.head())}
    data = sign_answer(context, body, load_key(silo.home))
    exchange.put(silo_answers_folder(silo.name, job_id, order.round, kind), data)


def _record_refusal(ledger: EgressLedger, step_order: StepOrder, error: EgressRefused) -> None:
    ledger.record(
        what=step_order.step,
        job_id=step_order.order.job.job_id,
        round=step_order.order.round,
        bytes=0,
        sha256="",
        fields=(),
        refused=error.what.removesuffix("."),
    )


def note_failure(home: Home, error: Exception) -> None:
    """Write the error to the silo's own log; only the kind of error leaves the silo."""
    _note(home, "".join(traceback.format_exception(error)))


def without_values(outcome: ContractOutcome) -> ContractOutcome:
    """Return the outcome with the broken rules and their numbers of rows, but without the values.

    A value that breaks a rule may be a user's id or an item that a user bought.
    """
    breaches = tuple(
        replace(each, observed=f"{each.count} rows in breach, listed in the silo's log")
        if each.count
        else each
        for each in outcome.breaches
    )
    return replace(outcome, breaches=breaches, result=_without_lists(outcome.result))


def _without_lists(value: Any) -> Any:
    # Great Expectations keeps values in lists with names such as partial_unexpected_list.
    if isinstance(value, Mapping):
        return {
            name: [] if "unexpected" in name and isinstance(inner, list) else _without_lists(inner)
            for name, inner in value.items()
        }
    return [_without_lists(each) for each in value] if isinstance(value, list) else value


def _note(home: Home, text: str) -> None:
    home.root.mkdir(parents=True, exist_ok=True)
    with (home.root / "silo.log").open("a", encoding="utf-8") as log:
        log.write(f"{datetime.now(UTC).isoformat(timespec='seconds')}\n{text}")


def _snapshot(silo: Silo, step_order: StepOrder) -> Partition:
    """Return the job's snapshot, which step "check" takes and which never changes afterwards."""
    folder = silo.home.root / "snapshots" / step_order.order.job.job_id
    if step_order.step != "check":
        return open_partition(folder)
    items = Exchange(silo.exchange_url).get(step_order.items)
    with tempfile.TemporaryDirectory() as temporary:
        catalog = Path(temporary) / "items.parquet"
        catalog.write_bytes(items)
        taken = take_snapshot(silo.source, catalog, silo.name, folder)
    _forget_old_jobs(silo, folder)
    return taken


def _forget_old_jobs(silo: Silo, newest: Path) -> None:
    """Delete the snapshots and answers of all jobs but the newest `keep_jobs`.

    The coordinator never says that a job has ended, but the silo sees when new jobs begin.
    """
    others = [path for path in newest.parent.iterdir() if path.is_dir() and path != newest]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    keep = [newest, *others[: silo.keep_jobs - 1]]
    for job_id in forget_snapshots(newest.parent, [path.name for path in keep]):
        Exchange(silo.exchange_url).remove(silo_job_folder(silo.name, job_id))


def _require_users(silo: Silo, step_order: StepOrder, snapshot: Partition) -> None:
    users = snapshot.client(silo.name).users
    if step_order.step != "check" and users < silo.min_users:
        raise EgressRefused(
            f"Silo {silo.name!r} has {users} users; its policy requires at least {silo.min_users} for an "
            "update or figures to leave.",
            silo=silo.name,
        )


def _perform(step_order: StepOrder, exchange: GuardedExchange, rules: SumRules) -> Answer:
    order = step_order.order
    if step_order.step == "check":
        # The silo judges itself, so that only the verdict and counts leave it.
        profiled = profile_client(order, step_order.limits)
        return judge({order.client_id: profiled}, step_order.limits)[order.client_id]
    if step_order.step == "train":
        return _train(order, exchange, rules)
    if step_order.step == "evaluate":
        return evaluate_client(order, rules)
    if step_order.step == "compare":
        return compare_client(order, step_order.alone_rounds, rules)
    return SUM_STEPS[step_order.step](order, rules)


def _train(order: ClientOrder, exchange: GuardedExchange, rules: SumRules) -> Delivery:
    forget_earlier_updates(exchange, order.client_id, order.job.job_id, order.round)
    folder = silo_updates_folder(order.client_id, order.job.job_id, order.round)
    return train_and_put(order, partial(exchange.put, folder), rules)
