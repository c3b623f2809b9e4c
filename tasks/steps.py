"""The steps that a client can be asked for, and their orders and answers as JSON that crosses a border."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from data_contracts.interactions import InteractionLimits
from data_contracts.outcome import ContractOutcome
from models.errors import InvalidInput
from models.evaluation.metric import Metric, as_json
from models.federation.rounds import TrainSpec
from tasks.check_contracts import Checked
from tasks.evaluate_client import Evaluation
from tasks.exchange import ArtifactRef
from tasks.orders import ClientOrder, JobContext
from tasks.silo import StartingPoint
from tasks.train_client import Delivery

JOB_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
Step = Literal["check", "train", "evaluate", "compare"]
Answer = Checked | Delivery | Evaluation


def updates_folder(silo: str, job_id: str, round_: int) -> str:
    """Where a silo puts its update of a round, below the exchange's root."""
    return f"silos/{silo}/{job_id}/updates/{round_:06d}"


def answers_folder(silo: str, job_id: str, round_: int, step: Step) -> str:
    """Where a silo puts its signed answer to a step of a round."""
    return f"silos/{silo}/{job_id}/answers/{round_:06d}-{step}"


@dataclass(frozen=True)
class StepOrder:
    """One step asked of one client.

    Attributes:
        step: what to do.
        order: on which round and model.
        arguments: what the step takes besides, as JSON values: `limits` and `items`, the reference of the
            job's catalogue (check), or `alone_epochs` (compare).
    """

    step: Step
    order: ClientOrder
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The order as JSON values."""
        return {"step": self.step, "order": asdict(self.order), "arguments": dict(self.arguments)}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> StepOrder:
        """The order that `as_json` wrote.

        Raises:
            InvalidInput: it is not one.
        """
        try:
            order = value["order"]
            job = order["job"]
            if value["step"] not in get_args(Step):
                raise InvalidInput(
                    f"A silo was asked for {value['step']!r}, expected one of {get_args(Step)}."
                )
            if not JOB_ID.fullmatch(job["job_id"]):
                raise InvalidInput(f"{job['job_id']!r} is no job's id; a silo names folders by it.")
            context = JobContext(**{**job, "spec": TrainSpec(**job["spec"])})
            return cls(
                step=value["step"],
                order=ClientOrder(
                    job=context,
                    client_id=order["client_id"],
                    round=order["round"],
                    base=ArtifactRef(**order["base"]),
                    start=StartingPoint(**order["start"]),
                ),
                arguments=dict(value["arguments"]),
            )
        except (KeyError, TypeError) as error:
            raise InvalidInput(f"A silo's order lacks a part or has an unknown one: {error}.") from error

    @property
    def limits(self) -> InteractionLimits:
        """Of the interactions contract (step "check")."""
        return InteractionLimits(**self.arguments["limits"])


def answer_as_json(answer: Answer) -> dict[str, Any]:
    """A client's answer as JSON values: durations instead of one machine's clock."""
    if isinstance(answer, Checked):
        return {
            "outcome": answer.outcome.to_json(),
            "users": answer.users,
            "interactions": answer.interactions,
            "digest": answer.digest,
        }
    if isinstance(answer, Delivery):
        return {
            "update": asdict(answer.update),
            "seconds": answer.ended - answer.started,
            "lightfm_s": answer.lightfm_s,
        }
    return {
        "metrics": as_json(answer.metrics),
        "alone": as_json(answer.alone),
        "benefit": as_json(answer.benefit),
        "seconds": answer.ended - answer.started,
        "alone_s": answer.alone_s,
    }


def answer_of_json(step: Step, client_id: str, body: Mapping[str, Any], received: float) -> Answer:
    """The answer that `answer_as_json` wrote.

    Args:
        step: what was asked.
        client_id: who answers.
        body: the JSON values, whose signature was verified.
        received: when it was received, on the clock of `time.perf_counter`; the work is taken to end then.

    Raises:
        InvalidInput: it is not such an answer.
    """
    try:
        if step == "check":
            outcome = ContractOutcome.from_json(body["outcome"])
            return Checked(outcome, int(body["users"]), int(body["interactions"]), str(body["digest"]))
        started = received - float(body["seconds"])
        if step == "train":
            update = ArtifactRef(**body["update"])
            return Delivery(client_id, update, started, received, float(body["lightfm_s"]))
        metrics, alone, benefit = (
            {name: Metric(float(pair["total"]), float(pair["weight"])) for name, pair in body[part].items()}
            for part in ("metrics", "alone", "benefit")
        )
        return Evaluation(client_id, metrics, alone, benefit, started, received, float(body["alone_s"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInput(
            f"The answer of {client_id!r} to {step!r} lacks a part or has one of a wrong form: {error}."
        ) from error
