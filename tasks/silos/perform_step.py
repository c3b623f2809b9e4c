"""A silo's work on one order of the coordinator, from the order to the signed answer in the exchange."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from data_contracts.outcome import ContractOutcome
from models.errors import EgressRefused
from models.federation.envelope import Question
from tasks.clients.check_data import check_client
from tasks.clients.evaluate import compare_client, evaluate_client
from tasks.clients.train import train_and_put
from tasks.datasets.partition_reader import Partition, open_partition
from tasks.datasets.snapshot import forget_snapshots, take_snapshot
from tasks.datasets.source import Source
from tasks.exchange.layout import silo_answers_folder, silo_job_folder, silo_updates_folder
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.local.home import Home
from tasks.messages.answers import Answer, Checked, Delivery, answer_as_json
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import StepOrder
from tasks.silos.egress_ledger import EgressLedger
from tasks.silos.guarded_exchange import Border, GuardedExchange, Policy
from tasks.silos.keys import load_key
from tasks.silos.signed_answers import answer as sealed


@dataclass(frozen=True)
class Silo:
    """A silo as its owner set it up.

    Attributes:
        home: its own folder.
        name: the client id.
        exchange_url: the folder shared with the coordinator.
        source: where its interactions lie.
        policy: what may leave it.
        min_users: with fewer users nothing about them leaves.
        keep_jobs: snapshots and answers of so many of the newest jobs stay.
    """

    home: Home
    name: str
    exchange_url: str
    source: Source
    policy: Policy
    min_users: int
    keep_jobs: int = 10


def work(silo: Silo, asked: StepOrder) -> None:
    """The step is done and its signed answer lies in the exchange.

    The silo keeps to its own places and data, whatever the order says of places.

    Raises:
        EgressRefused: the order is for another silo, or its answer must not leave.
        LedgerTampered: the egress ledger is not the one whose head the silo signed before.
        FedrecError: the step cannot be done; trying again cannot help.
    """
    order = asked.order
    if order.client_id != silo.name:
        raise EgressRefused(f"Silo {silo.name!r} was given an order for {order.client_id!r}.")
    ledger = EgressLedger(silo.home)
    ledger.require(asked.witnessed)
    snapshot = _snapshot(silo, asked)
    _require_users(silo, asked, snapshot)
    job = replace(
        order.job,
        exchange_url=silo.exchange_url,
        data_dir=str(snapshot.root),
        data_digest=snapshot.digest,
        silos_dir=str(silo.home.silos),
    )
    order = replace(order, job=job)
    treatment = ", ".join(each.name for each in job.postprocessors) or "none"
    border = Border(ledger, silo.policy, silo.name, job.job_id, order.round, treatment)
    exchange = GuardedExchange(silo.exchange_url, border)
    answer = _perform(replace(asked, order=order), exchange)
    if isinstance(answer, Checked):
        if not answer.outcome.passed:
            _note(silo.home, answer.outcome.summary() + "\n")
        answer = replace(answer, outcome=without_values(answer.outcome))
    question = Question(silo.name, asked.step, job.job_id, order.round, order.base.sha256)
    # The head holds the step's update already. The answer's own entry cannot be in a head that the answer
    # carries; it comes next, under the SHA-256 by which the coordinator knows the answer.
    body = answer_as_json(answer) | {"egress": vars(ledger.head())}
    data = sealed(question, body, load_key(silo.home))
    exchange.put(silo_answers_folder(silo.name, job.job_id, order.round, asked.step), data)


def note_failure(home: Home, error: Exception) -> None:
    """The silo's own log says what went wrong; nobody else is told more than the kind of error."""
    _note(home, "".join(traceback.format_exception(error)))


def without_values(outcome: ContractOutcome) -> ContractOutcome:
    """The outcome with which rules are broken and by how many rows, but with no value that breaks them.

    A value may be a user's id, or an item that a user bought.
    """
    breaches = tuple(
        replace(each, observed=f"{each.count} rows in breach, listed in the silo's log")
        if each.count
        else each
        for each in outcome.breaches
    )
    return replace(outcome, breaches=breaches, result=_without_lists(outcome.result))


def _without_lists(value: Any) -> Any:
    # Great Expectations keeps values under names such as partial_unexpected_list; counts are no lists.
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


def _snapshot(silo: Silo, asked: StepOrder) -> Partition:
    """The job's snapshot; taken when the job checks the silo, and never changed after."""
    folder = silo.home.root / "snapshots" / asked.order.job.job_id
    if asked.step != "check":
        return open_partition(folder)
    items = Exchange(silo.exchange_url).get(ArtifactRef(**asked.arguments["items"]))
    with tempfile.TemporaryDirectory() as own:
        catalog = Path(own) / "items.parquet"
        catalog.write_bytes(items)
        taken = take_snapshot(silo.source, catalog, silo.name, folder)
    _forget_old_jobs(silo, folder)
    return taken


def _forget_old_jobs(silo: Silo, newest: Path) -> None:
    """Older jobs are over: only the newest have their snapshot here and their answers in the exchange.

    A silo is never told that a job is over, but it sees when new ones begin.
    """
    others = [path for path in newest.parent.iterdir() if path.is_dir() and path != newest]
    others.sort(key=lambda path: path.stat().st_mtime_ns, reverse=True)
    keep = [newest, *others[: silo.keep_jobs - 1]]
    for job_id in forget_snapshots(newest.parent, [path.name for path in keep]):
        Exchange(silo.exchange_url).remove(silo_job_folder(silo.name, job_id))


def _require_users(silo: Silo, asked: StepOrder, snapshot: Partition) -> None:
    users = snapshot.client(silo.name).users
    if asked.step != "check" and users < silo.min_users:
        raise EgressRefused(
            f"Silo {silo.name!r} has {users} users; its policy lets nothing about fewer than "
            f"{silo.min_users} leave.",
            silo=silo.name,
        )


def _perform(asked: StepOrder, exchange: GuardedExchange) -> Answer:
    order = asked.order
    if asked.step == "check":
        return check_client.fn(order, asked.limits)
    if asked.step == "train":
        return _train(order, exchange)
    if asked.step == "evaluate":
        return evaluate_client.fn(order)
    return compare_client.fn(order, asked.arguments["alone_rounds"])


def _train(order: ClientOrder, exchange: GuardedExchange) -> Delivery:
    # An update of an earlier round was merged or refused by now; nobody reads it any more.
    for earlier in range(max(1, order.round - 2), order.round):
        exchange.remove(silo_updates_folder(order.client_id, order.job.job_id, earlier))
    folder = silo_updates_folder(order.client_id, order.job.job_id, order.round)
    return train_and_put(order, exchange, folder)
