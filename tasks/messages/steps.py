"""The steps that a client can perform, and the JSON form of an order for a step."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

from data_contracts.interactions import InteractionLimits
from models.errors import InvalidInput
from models.federation.postprocessors import postprocessor_of, values_of
from models.recommenders.families.registry import spec_of
from tasks.exchange.store import ArtifactRef
from tasks.messages.numbers import count
from tasks.messages.orders import ClientOrder, JobContext, StartingPoint
from tasks.messages.record import JsonObject
from tasks.messages.signed_head import SignedHead

JOB_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
Step = Literal["check", "train", "evaluate", "compare"]


@dataclass(frozen=True)
class StepOrder:
    """An order to one client to perform one step.

    Attributes:
        step: the step.
        order: the client, the round and the model.
        arguments: further arguments of the step, as JSON values: `limits` and `items`, the reference of the
            job's catalogue (check), or `alone_rounds` (compare). For a silo that has answered before, they
            include `witnessed`, the newest head of its egress ledger that it signed.
    """

    step: Step
    order: ClientOrder
    arguments: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> JsonObject:
        """Return the order as JSON values."""
        order = asdict(self.order)
        order["job"]["postprocessors"] = [values_of(each) for each in self.order.job.postprocessors]
        return {"step": self.step, "order": order, "arguments": dict(self.arguments)}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> StepOrder:
        """Return the order that `as_json` wrote.

        Raises:
            InvalidInput: the value is not an order.
        """
        try:
            order = value["order"]
            job = order["job"]
            if value["step"] not in get_args(Step):
                raise InvalidInput(
                    f"A silo's order has the step {value['step']!r}, expected one of {get_args(Step)}."
                )
            earlier = order["start"]["job_id"]
            for job_id in (job["job_id"], *(() if earlier is None else (earlier,))):
                if not JOB_ID.fullmatch(job_id):
                    raise InvalidInput(f"{job_id!r} is not a job id. A silo names folders by job ids.")
            count(order["round"])
            count(job["cohort"])
            postprocessors = tuple(postprocessor_of(each) for each in job["postprocessors"])
            context = JobContext(**{**job, "spec": spec_of(job["spec"]), "postprocessors": postprocessors})
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
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InvalidInput(f"A silo's order has a missing or unknown part: {error}.") from error

    @property
    def limits(self) -> InteractionLimits:
        """Return the limits of the interactions contract (step "check")."""
        return InteractionLimits(**self.arguments["limits"])

    @property
    def witnessed(self) -> SignedHead | None:
        """Return the newest head that the silo signed, or None if the coordinator has none.

        Raises:
            InvalidInput: the argument is not a signed head.
        """
        return SignedHead.of_json(self.arguments["witnessed"]) if "witnessed" in self.arguments else None
