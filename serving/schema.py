"""What clients send and get; the OpenAPI document is made from these."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

MAX_HISTORY = 1_000
MAX_EXCLUDED = 5_000
MAX_FEATURES = 50
MAX_K = 100
MAX_BATCH = 100
MAX_QUERY = 200


def _whole(value: Any) -> Any:
    """JSON knows one kind of number: 3.0 is as good an integer as 3."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


ItemId = Annotated[str, Field(min_length=1, max_length=500)]
_QUESTION: dict[str, Any] = {
    "history": [{"item_id": "1", "weight": 1.0}, {"item_id": "50"}],
    "k": 10,
    "exclude": ["181"],
    "features": ["genres:Comedy"],
    "diversity": 0.2,
}
_FEEDBACK: dict[str, Any] = {"version": 3, "item_id": "181"}
_MODEL: dict[str, Any] = {"version": 3, "round": 30, "sha256": "9f2c" * 16}
_RECOMMENDATION: dict[str, Any] = {
    "item_id": "181",
    "title": "Return of the Jedi (1983)",
    "score": 2.89,
    "reasons": [
        {"kind": "history", "item_id": "50", "title": "Star Wars (1977)", "share": 0.7},
        {"kind": "other", "item_id": None, "title": "other", "share": 0.3},
    ],
}


class _Sent(BaseModel):
    # Strict: a number is no text. Unknown keys are slips, and silence would hide them.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Seen(_Sent):
    """One item of a history."""

    item_id: ItemId
    weight: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] = Field(
        default=1.0, description="How much it counts; of items named twice the weights add up."
    )


class Question(_Sent):
    """What a user did, and what is wanted. Nothing of it is stored."""

    model_config = ConfigDict(json_schema_extra={"examples": [_QUESTION]})

    history: Annotated[list[Seen], Field(max_length=MAX_HISTORY)] = Field(
        default=[],
        description="Items that the user liked, the oldest first; popular items come back where it is empty.",
    )
    k: Annotated[int, Field(ge=1, le=MAX_K), BeforeValidator(_whole)] = Field(
        default=10, description="How many recommendations."
    )
    exclude: Annotated[list[ItemId], Field(max_length=MAX_EXCLUDED)] = Field(
        default=[], description="Items not to recommend, beside those of the history."
    )
    features: Annotated[list[ItemId], Field(max_length=MAX_FEATURES)] = Field(
        default=[], description="Only items that carry any of these features; any item where it is empty."
    )
    diversity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        default=0.0, description="From 0, the best scores, to 1, the most different of the good items."
    )


class Questions(_Sent):
    """Several questions at once."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"requests": [_QUESTION]}]})

    requests: Annotated[list[Question], Field(min_length=1, max_length=MAX_BATCH)]


class Feedback(_Sent):
    """A recommended item that was chosen, and the version that had recommended it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FEEDBACK]})

    version: Annotated[int, Field(ge=1, lt=2**31), BeforeValidator(_whole)]
    item_id: ItemId


class Model(BaseModel):
    """The one version that a reply is from."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MODEL]})

    version: int
    round: int
    sha256: str


class Reason(BaseModel):
    """What speaks for a recommendation; the shares of all reasons add up to 1."""

    kind: Literal["history", "popularity", "other"]
    item_id: str | None = Field(description="Of the history; null for popularity and other.")
    title: str
    share: float


class Recommendation(BaseModel):
    """A recommended item."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RECOMMENDATION]})

    item_id: str
    title: str
    score: float = Field(description="Comparable within one answer only.")
    reasons: list[Reason]


class Answer(BaseModel):
    """The best first."""

    model: Model
    recommendations: list[Recommendation]


class UserAnswer(Answer):
    """Recommendations for a user of this silo."""

    answered_from: Literal["embedding", "stored history", "history"] = Field(
        description="The user's own trained embedding; the history that the silo has of a user without one; "
        "or the history in the request, of a user that the silo does not know."
    )


class BatchAnswer(BaseModel):
    """Recommendations only."""

    recommendations: list[Recommendation]


class Answers(BaseModel):
    """One answer for each question, in order, all from one version."""

    model: Model
    answers: list[BatchAnswer]


class SimilarItem(BaseModel):
    """An item like another."""

    item_id: str
    title: str
    similarity: float = Field(description="From -1 to 1.")


class SimilarItems(BaseModel):
    """The most similar first."""

    model: Model
    items: list[SimilarItem]


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str
    features: list[str]


class Items(BaseModel):
    """The best match first."""

    model: Model
    items: list[Item]


class Gate(BaseModel):
    """What a gate saw when the version was promoted."""

    gate: str
    passed: bool
    observed: str
    required: str


class ModelFacts(Model):
    """The model that answers, and why it does."""

    model_name: str
    job_id: str
    items: int
    dims: int
    committed_at: str
    epsilon: float | None = Field(description="Of differential privacy; null where training had none.")
    gates: list[Gate]
    decided_by: str | None
    decided_at: str | None
    reason: str | None
    ledger_entry: str | None = Field(description="Hash of the decision in the ledger; see fedrec audit.")
    challenger: Model | None


class Status(BaseModel):
    """How a process is."""

    status: str


class Error(BaseModel):
    """Where a request is wrong."""

    where: str
    what: str


class ProblemDetails(BaseModel):
    """An error, by RFC 9457."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "urn:fedrec:problem:invalid-request",
                    "title": "Unprocessable Entity",
                    "status": 422,
                    "detail": "k: Input should be greater than or equal to 1.",
                    "errors": [{"where": "k", "what": "Input should be greater than or equal to 1"}],
                }
            ]
        }
    )

    type: str
    title: str
    status: int
    detail: str
    errors: list[Error] | None = None


QUESTION: TypeAdapter[Question] = TypeAdapter(Question)
QUESTIONS: TypeAdapter[Questions] = TypeAdapter(Questions)
FEEDBACK: TypeAdapter[Feedback] = TypeAdapter(Feedback)


def schema_of(kind: Any) -> dict[str, str]:
    """A reference into the OpenAPI document."""
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
