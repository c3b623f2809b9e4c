"""The steps that a client can be asked for, and their orders and answers as JSON that crosses a border."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from data_contracts.interactions import InteractionLimits
from data_contracts.outcome import ContractOutcome
from models.errors import InvalidInput
from models.kernel.metric import Metric, as_json
from models.recommenders.families.specs import spec_of
from tasks.clients.check_data import Checked
from tasks.clients.client_data import StartingPoint
from tasks.clients.evaluate import Evaluation
from tasks.clients.orders import ClientOrder, JobContext
from tasks.clients.train import Delivery
from tasks.exchange.store import ArtifactRef
from tasks.silos.egress_ledger import Signed

SHA256 = re.compile(r"[0-9a-f]{64}")
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
            job's catalogue (check), or `alone_rounds` (compare); for a silo that answered before also
            `witnessed`, what it signed of its egress ledger last.
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
            earlier = order["start"]["job_id"]
            for job_id in (job["job_id"], *(() if earlier is None else (earlier,))):
                if not JOB_ID.fullmatch(job_id):
                    raise InvalidInput(f"{job_id!r} is no job's id; a silo names folders by it.")
            _count(order["round"])
            context = JobContext(**{**job, "spec": spec_of(job["spec"])})
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
        except (KeyError, TypeError, ValueError) as error:
            raise InvalidInput(f"A silo's order lacks a part or has an unknown one: {error}.") from error

    @property
    def limits(self) -> InteractionLimits:
        """Of the interactions contract (step "check")."""
        return InteractionLimits(**self.arguments["limits"])

    @property
    def witnessed(self) -> Signed | None:
        """What the silo signed of its egress ledger last; None where the coordinator knows of nothing.

        Raises:
            InvalidInput: what was given is something else.
        """
        return Signed.of_json(self.arguments["witnessed"]) if "witnessed" in self.arguments else None


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
            "transfer_s": answer.transfer_s,
        }
    return {
        "metrics": as_json(answer.metrics),
        "alone": as_json(answer.alone),
        "benefit": as_json(answer.benefit),
        "choice": as_json(answer.choice),
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
            return Checked(outcome, _count(body["users"]), _count(body["interactions"]), str(body["digest"]))
        started = received - _number(body["seconds"])
        if step == "train":
            update = ArtifactRef(**body["update"])
            _count(update.size)
            if not SHA256.fullmatch(update.sha256):
                raise ValueError(f"{update.sha256!r} is no SHA-256")
            lightfm_s, transfer_s = _number(body["lightfm_s"]), _number(body["transfer_s"])
            return Delivery(client_id, update, started, received, lightfm_s, transfer_s)
        metrics, alone, benefit, choice = (
            {
                name: Metric(_number(pair["total"]), _number(pair["weight"]))
                for name, pair in body[part].items()
            }
            for part in ("metrics", "alone", "benefit", "choice")
        )
        alone_s = _number(body["alone_s"])
        return Evaluation(client_id, metrics, alone, benefit, choice, started, received, alone_s)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InvalidInput(
            f"The answer of {client_id!r} to {step!r} lacks a part or has one of a wrong form: {error}."
        ) from error


def _number(value: Any) -> float:
    # float() alone would take the text "nan".
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value
