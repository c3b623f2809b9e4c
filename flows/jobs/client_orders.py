"""A job's orders to its clients for one step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step

if TYPE_CHECKING:
    from flows.jobs.job import Job


def orders_of(job: Job, step: Step, client_ids: Sequence[str]) -> dict[str, ClientOrder]:
    """Return client id -> its order to train from the newest committed model, or to evaluate it."""
    newest, base, mine = job.rounds[-1].round, job.base, job.journal.job_id
    starts = job.journal.starting_points(client_ids, job.rounds)
    branches = [
        job.journal.starting_points(client_ids, job.rounds[: each + 1])
        for each in job.branches
        if each < newest
    ]
    contexts = job.contexts
    orders = {}
    for client_id in client_ids:
        points = {branch[client_id] for branch in branches}
        orders[client_id] = ClientOrder(
            contexts[client_id],
            client_id,
            newest + (step == "train"),
            base,
            starts[client_id],
            kept=tuple(sorted(each.round for each in points if each.job_id == mine)),
            base_step=job.downloads.step_for(client_id, base),
        )
    return orders
