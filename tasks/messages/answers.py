"""Clients' answers, and the JSON form in which silos send them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from data_contracts.interaction_profile import InteractionProfile
from data_contracts.outcome import ContractOutcome
from data_contracts.strict_json import read_exactly, read_strictly
from models.errors import InvalidInput
from models.evaluation.benefit import DIFFERENCE, SQUARED_DIFFERENCE
from models.kernel.json_values import count, number
from models.kernel.metric import Metric, metric_from_client
from models.ledger.head import Head
from tasks.exchange.store import ArtifactRef
from tasks.messages.record import JsonObject, as_json_object, as_json_value
from tasks.messages.steps import Step
from tasks.messages.sum_orders import as_text, of_text

SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Profiled:
    """A local client's answer about its data, which the coordinator judges together with those of the others.

    Attributes:
        profile: what the interactions contract judges.
        users, interactions: numbers of users and interactions.
        digest: SHA-256 of the data.
    """

    profile: InteractionProfile
    users: int
    interactions: int
    digest: str


@dataclass(frozen=True)
class Checked:
    """Facts about a client's data that do not reveal the data.

    Attributes:
        outcome: outcome of the interactions contract.
        users, interactions: numbers of users and interactions.
        digest: SHA-256 of the data.
    """

    outcome: ContractOutcome
    users: int
    interactions: int
    digest: str


@dataclass(frozen=True)
class Declined:
    """A silo's answer to the check of a job in which its owner does not let it take part.

    It tells the owner's limit, and nothing of the data.

    Attributes:
        most: the largest epsilon of a job that the silo takes part in.
        delta: with which the limit is meant.
        epsilon: of the job by the noise in its order, for this delta; None without noise.
    """

    most: float
    delta: float
    epsilon: float | None

    def __str__(self) -> str:
        told = "has no noise" if self.epsilon is None else f"has noise for epsilon {self.epsilon:.3g}"
        return (
            f"takes part only in jobs that promise each user an epsilon of at most {self.most:g}, with delta "
            f"{self.delta:g}, and this one {told}"
        )


@dataclass(frozen=True)
class Delivery:
    """A client's answer to an order.

    Attributes:
        client_id: the client that answers.
        update: reference of its update in the exchange.
        started, ended: start and end of the work, on the clock of `time.perf_counter`.
        lightfm_s: CPU seconds inside LightFM.
        transfer_s: the part of that time in which a silo fetched the model and stored its update.
        egress: the head of the silo's egress ledger after the update was recorded.
    """

    client_id: str
    update: ArtifactRef
    started: float
    ended: float
    lightfm_s: float
    transfer_s: float = 0.0
    egress: Head | None = None


@dataclass(frozen=True)
class ClientEvaluation:
    """A client's sums over its held-out cases.

    Attributes:
        client_id: the client.
        metrics: metrics of the federated model.
        alone: metrics of a model trained on this client's data only; empty if this was not requested.
        benefit: sums of the paired differences in the worth of a case (see `Judged`), federated minus alone;
            empty if this was not requested.
        choice: the same over the validation cases, which decide which of the two models is offered; empty if
            this was not requested.
        started, ended: start and end of the work, on the clock of `time.perf_counter`.
        alone_s: seconds of training and evaluating alone.
    """

    client_id: str
    metrics: dict[str, Metric]
    alone: dict[str, Metric]
    benefit: dict[str, Metric]
    choice: dict[str, Metric]
    started: float
    ended: float
    alone_s: float


@dataclass(frozen=True)
class SumAnswer:
    """A client's messages in secure sums.

    Attributes:
        client_id: the client that answers.
        messages: id of a sum -> the message; for the step "announce", what is announced -> the message.
        started, ended: start and end of the work, on the clock of `time.perf_counter`.
        alone_s: the part of that time in which the client trained alone.
        published: its comparison at the end of a job, if its owner publishes it.
    """

    client_id: str
    messages: Mapping[str, bytes]
    started: float
    ended: float
    alone_s: float = 0.0
    published: ClientEvaluation | None = None


Answer = Checked | Declined | Delivery | ClientEvaluation | SumAnswer


def answer_as_json(answer: Answer) -> JsonObject:
    """Return a client's answer as JSON values. Durations replace the times of the client's clock."""
    if isinstance(answer, Checked):
        return {
            "outcome": answer.outcome.to_json(),
            "users": answer.users,
            "interactions": answer.interactions,
            "digest": answer.digest,
        }
    if isinstance(answer, Declined):
        return {"declined": as_json_object(answer)}
    if isinstance(answer, SumAnswer):
        return {
            "messages": as_text(answer.messages),
            "seconds": answer.ended - answer.started,
            "alone_s": answer.alone_s,
            **({"published": answer_as_json(answer.published)} if answer.published else {}),
        }
    if isinstance(answer, Delivery):
        return {
            "update": as_json_object(answer.update),
            "seconds": answer.ended - answer.started,
            "lightfm_s": answer.lightfm_s,
            "transfer_s": answer.transfer_s,
        }
    return {
        "metrics": as_json_value(answer.metrics),
        "alone": as_json_value(answer.alone),
        "benefit": as_json_value(answer.benefit),
        "choice": as_json_value(answer.choice),
        "seconds": answer.ended - answer.started,
        "alone_s": answer.alone_s,
    }


def answer_of_json(
    step: Step, client_id: str, body: Mapping[str, Any], received: float, *, is_noisy: bool = False
) -> Answer:
    """Return the answer that `answer_as_json` wrote.

    Args:
        step: the step that was ordered.
        client_id: the client that answers.
        body: the JSON values, whose signature was verified.
        received: time of receipt, on the clock of `time.perf_counter`. The work is assumed to end then.
        is_noisy: whether the client adds noise to its figures.

    Raises:
        InvalidInput: the values are not such an answer.
    """
    try:
        if step == "check" and "declined" in body:
            return _declined(body["declined"])
        if step == "check":
            outcome = ContractOutcome.from_json(read_strictly(str, body["outcome"]))
            if (outcome.contract, outcome.subject) != ("interactions", client_id):
                raise ValueError(f"its outcome is of {outcome.contract!r} for {outcome.subject!r}")
            digest = read_strictly(str, body["digest"])
            return Checked(outcome, count(body["users"]), count(body["interactions"]), digest)
        started = received - number(body["seconds"])
        if "messages" in body:
            messages, said = of_text(body["messages"]), body.get("published")
            published = evaluation_of_json(client_id, said, received) if said else None
            return SumAnswer(client_id, messages, started, received, number(body["alone_s"]), published)
        if step == "train":
            update = read_exactly(ArtifactRef, body["update"])
            count(update.size)
            if not SHA256.fullmatch(update.sha256):
                raise ValueError(f"{update.sha256!r} is not a SHA-256")
            lightfm_s, transfer_s = number(body["lightfm_s"]), number(body["transfer_s"])
            return Delivery(client_id, update, started, received, lightfm_s, transfer_s)
        return evaluation_of_json(client_id, body, received, is_noisy=is_noisy)
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise InvalidInput(
            f"The answer of {client_id!r} to {step!r} has a missing or malformed part: {text}."
        ) from error


def evaluation_of_json(
    client_id: str, body: Mapping[str, Any], received: float, *, is_noisy: bool = False
) -> ClientEvaluation:
    """Return the evaluation that `answer_as_json` wrote, if with noise then with sums that may be negative.

    Raises:
        KeyError, TypeError, ValueError, AttributeError: the values are not such an evaluation.
    """
    metrics, alone, benefit, choice = (
        {
            name: metric_from_client(name, number(pair["total"]), number(pair["weight"]), is_noisy=is_noisy)
            for name, pair in body[part].items()
        }
        for part in ("metrics", "alone", "benefit", "choice")
    )
    # The report reads these.
    if not metrics:
        raise ValueError("it has no metrics")
    for part, sums in (("benefit", benefit), ("choice", choice)):
        if sums and sums.keys() != {DIFFERENCE, SQUARED_DIFFERENCE}:
            raise ValueError(f"its part {part!r} has {', '.join(sorted(sums))}")
    started = received - number(body["seconds"])
    return ClientEvaluation(
        client_id, metrics, alone, benefit, choice, started, received, number(body["alone_s"])
    )


def _declined(value: Mapping[str, Any]) -> Declined:
    epsilon = value["epsilon"]
    return Declined(
        number(value["most"]), number(value["delta"]), None if epsilon is None else number(epsilon)
    )
