"""The steps that a client can perform, and the JSON form of an order for a step."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from pydantic import ConfigDict, create_model

from data_contracts.interactions import InteractionLimits
from data_contracts.strict_json import read_exactly, read_strictly
from models.errors import InvalidInput
from models.federation.postprocessors import postprocessor_kind, values_of
from models.kernel.json_values import count
from models.kernel.ranges import Range
from models.recommenders.families.registry import family_named
from tasks.exchange.store import ArtifactRef
from tasks.messages.orders import ClientOrder, JobContext, ModelStep, StartingPoint
from tasks.messages.record import JsonObject
from tasks.messages.signed_head import SignedHead
from tasks.messages.sum_orders import SumOrder

JOB_ID = re.compile(r"[a-z0-9][a-z0-9-]{0,127}")
# The last four are of secure sums.
Step = Literal["check", "train", "evaluate", "compare", "announce", "prepare", "agree", "reveal"]


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
        order = asdict(replace(self.order, sum=None))
        if self.order.sum:
            order["sum"] = self.order.sum.to_json()
        order["job"]["ranges"] = {name: asdict(each) for name, each in self.order.job.ranges.items()}
        order["job"]["postprocessors"] = [values_of(each) for each in self.order.job.postprocessors]
        return {"step": self.step, "order": order, "arguments": dict(self.arguments)}

    @classmethod
    def of_json(cls, value: Mapping[str, Any]) -> StepOrder:
        """Return the order that `as_json` wrote.

        Raises:
            InvalidInput: the value is not an order.
        """
        with _parts_named():
            order = value["order"]
            if value["step"] not in get_args(Step):
                raise InvalidInput(
                    f"A silo's order has the step {value['step']!r}, expected one of {get_args(Step)}."
                )
            found = ClientOrder(
                job=_job_context(order["job"]),
                client_id=read_strictly(str, order["client_id"]),
                round=count(order["round"]),
                base=read_exactly(ArtifactRef, order["base"]),
                start=read_exactly(StartingPoint, order["start"]),
                kept=tuple(count(each) for each in order.get("kept", ())),
                sum=SumOrder.of_json(order["sum"]) if order.get("sum") else None,
                base_step=_model_step(order.get("base_step")),
            )
            count(found.job.cohort)
            for job_id in (found.job.job_id, found.start.job_id, *found.job.earlier_jobs):
                if job_id is not None and not JOB_ID.fullmatch(job_id):
                    raise InvalidInput(f"{job_id!r} is not a job id. A silo names folders by job ids.")
            return cls(step=value["step"], order=found, arguments=dict(value["arguments"]))

    @property
    def limits(self) -> InteractionLimits:
        """Return the limits of the interactions contract (step "check").

        Raises:
            InvalidInput: the argument is missing, or is not such limits.
        """
        with _parts_named():
            return read_exactly(InteractionLimits, self.arguments["limits"])

    @property
    def items(self) -> ArtifactRef:
        """Return the reference of the job's catalogue (step "check").

        Raises:
            InvalidInput: the argument is missing, or is not a reference.
        """
        with _parts_named():
            return read_exactly(ArtifactRef, self.arguments["items"])

    @property
    def alone_rounds(self) -> int:
        """Return the number of rounds that the client trains alone (step "compare").

        Raises:
            InvalidInput: the argument is missing, or is not a number of rounds.
        """
        with _parts_named():
            return count(self.arguments["alone_rounds"])

    @property
    def witnessed(self) -> SignedHead | None:
        """Return the newest head that the silo signed, or None if the coordinator has none.

        Raises:
            InvalidInput: the argument is not a signed head.
        """
        return SignedHead.of_json(self.arguments["witnessed"]) if "witnessed" in self.arguments else None


# The settings of the family and of the postprocessors have types of their own. Ranges have no further parts.
_OWN_TYPES = ("spec", "postprocessors", "ranges")
_FACTS: dict[str, Any] = {
    each.name: (get_type_hints(JobContext)[each.name], ...)
    for each in fields(JobContext)
    if each.name not in _OWN_TYPES
}
_JobFacts: Any = create_model("_JobFacts", __config__=ConfigDict(extra="forbid"), **_FACTS)


def _model_step(value: Mapping[str, Any] | None) -> ModelStep | None:
    if value is None:
        return None
    return ModelStep(**{name: read_exactly(ArtifactRef, value[name]) for name in ("before", "sum")})


def _job_context(value: Any) -> JobContext:
    facts = read_strictly(_JobFacts, {name: each for name, each in value.items() if name not in _OWN_TYPES})
    spec = value["spec"]
    return JobContext(
        **dict(facts),
        spec=read_exactly(family_named(spec.get("family")).spec_type, spec),
        postprocessors=tuple(
            read_exactly(
                postprocessor_kind(each.get("name")),
                {name: setting for name, setting in each.items() if name != "name"},
            )
            for each in value["postprocessors"]
        ),
        ranges={name: read_exactly(Range, each) for name, each in value["ranges"].items()},
    )


@contextlib.contextmanager
def _parts_named() -> Iterator[None]:
    """Convert the errors that a missing part or one of a wrong form raises to `InvalidInput`."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        text = " ".join(str(error).split())
        raise InvalidInput(f"A silo's order has a missing, unknown or malformed part: {text}.") from error
