"""A client's steps of secure sums: what it says about keys and votes, and its masked summands."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from data_contracts.updates import breaches_of, profile_update, update_rules
from models.errors import ContractViolation, EgressRefused
from models.federation.merge import MergeRule
from models.federation.model import ClientUpdate, GlobalModel
from tasks.clients.sum_member import SumMember, SumRules
from tasks.exchange.codec import encode_masked
from tasks.messages.answers import ClientEvaluation, SumAnswer
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import Step
from tasks.messages.sum_forms import evaluation_form, evaluation_summand, sum_id, training_form

ANNOUNCEMENT, IDENTITY = "announcement", "identity"


def announce_client(order: ClientOrder, rules: SumRules | None = None) -> SumAnswer:
    """Return the client's key for the job's sums, and the key by which the others know it."""

    def say(member: SumMember) -> dict[str, bytes]:
        return {ANNOUNCEMENT: member.announce(), IDENTITY: member.identity}

    return _answer(order, rules, say)


def prepare_client(order: ClientOrder, rules: SumRules | None = None) -> SumAnswer:
    """Return the messages that prepare the sums of the order."""
    return _answer(order, rules, SumMember.prepare)


def agree_client(order: ClientOrder, rules: SumRules | None = None) -> SumAnswer:
    """Return the client's vote for the members of the order's sum."""
    return _answer(order, rules, lambda member: {_id(order): member.agree()})


def reveal_client(order: ClientOrder, rules: SumRules | None = None) -> SumAnswer:
    """Return the message with which the client opens the order's sum."""
    return _answer(order, rules, lambda member: {_id(order): member.reveal()})


def masked_update(
    order: ClientOrder,
    rule: MergeRule[Any, Any],
    base: GlobalModel,
    update: ClientUpdate,
    rules: SumRules | None = None,
) -> bytes:
    """Return a client's masked update, if it keeps the update contract, which nobody else can check.

    Raises:
        ContractViolation: it breaks the contract.
        EgressRefused: it would be in several sums of the job, from whose differences it could be read.
    """
    job, members = order.job, len(_members(order))
    if not job.family.is_iterative and order.round != 1:
        raise EgressRefused(
            f"Client {order.client_id!r} contributes the same statistics in each round, so it takes part in "
            f"the sum of round 1 of job {job.job_id} only, not of round {order.round}.",
            next_step="Set federation.rounds to 1. More rounds give the same model.",
            silo=order.client_id,
        )
    _require_noise(order)
    form = training_form(job, rule, base, members)
    profile = profile_update(
        update,
        base,
        order.base.sha256,
        form.form,
        rule.weight_of,
        ranges=form.ranges,
        noisy=job.noise is not None,
    )
    limits = update_rules(base.round, order.base.sha256, base.catalog_digest, job.update_limits)
    if broken := breaches_of(profile, limits):
        raise ContractViolation(
            f"The update of client {order.client_id!r} breaks its contract. Required: {'; '.join(broken)}.",
            next_step="Compare contracts.updates in the job's configuration with the silo's data.",
            client_id=order.client_id,
            round=order.round,
        )
    name = _only_id(order, "train")
    message = SumMember(order, rules).mask(form, update.contribution)
    return encode_masked(order.client_id, name, message)


def masked_evaluation(
    step: Step, order: ClientOrder, evaluation: ClientEvaluation, rules: SumRules | None = None
) -> SumAnswer:
    """Return a client's evaluation as a masked summand of this step's sum."""
    _require_noise(order)
    form = evaluation_form(order.job, len(_members(order)))
    name = _only_id(order, step)
    message = SumMember(order, rules).mask(form, evaluation_summand(evaluation))
    return SumAnswer(
        order.client_id, {name: message}, evaluation.started, time.perf_counter(), evaluation.alone_s
    )


def _require_noise(order: ClientOrder) -> None:
    """Raise `EgressRefused` if the sum has fewer members than share the noise."""
    noise, members = order.job.noise, len(_members(order))
    if noise and noise.summands > members:
        raise EgressRefused(
            f"Job {order.job.job_id} splits its noise among {noise.summands} clients, but the sum has "
            f"{members} members and would have too little of it.",
            next_step="Run the job when the other clients are back.",
            silo=order.client_id,
        )


# The steps of which nothing of the client's data comes out.
SUM_STEPS: dict[Step, Callable[[ClientOrder, SumRules | None], SumAnswer]] = {
    "announce": announce_client,
    "prepare": prepare_client,
    "agree": agree_client,
    "reveal": reveal_client,
}


def _only_id(order: ClientOrder, step: str) -> str:
    """Return the id of the order's sum.

    Raises:
        EgressRefused: it is not the sum of this step and round. Under several ids a coordinator would get
            several sums of one summand, and from their differences other summands.
    """
    found = _id(order)
    if found != sum_id(step, order.round):
        raise EgressRefused(
            f"The order asks client {order.client_id!r} for a summand of {found!r}, expected "
            f"{sum_id(step, order.round)!r}.",
            next_step="Ask the coordinator's operator why: an honest coordinator never does this.",
            silo=order.client_id,
        )
    return found


def _answer(
    order: ClientOrder, rules: SumRules | None, say: Callable[[SumMember], dict[str, bytes]]
) -> SumAnswer:
    started = time.perf_counter()
    messages = say(SumMember(order, rules))
    return SumAnswer(order.client_id, messages, started, time.perf_counter())


def _id(order: ClientOrder) -> str:
    return order.sum.one[0] if order.sum else ""


def _members(order: ClientOrder) -> tuple[str, ...]:
    return order.sum.one[1] if order.sum else ()
