"""The bodies of requests and responses, from which the OpenAPI document is made."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

MAX_HISTORY = 1_000
MAX_EXCLUDED = 5_000
MAX_RATED = 500
MAX_FEATURES = 50
MAX_K = 100
MAX_BATCH = 100
MAX_QUERY = 200


def _whole(value: Any) -> Any:
    """Return a float without a fraction as an int, because JSON has one type for numbers."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


ItemId = Annotated[str, Field(min_length=1, max_length=500)]
Unknown = Annotated[
    list[str],
    Field(
        description="Ids in the history, and features, that the version does not know. They are left out; "
        "without any known item, popular items are recommended."
    ),
]
_QUERY: dict[str, Any] = {
    "history": [{"item_id": "1", "weight": 1.0}, {"item_id": "50"}],
    "k": 10,
    "exclude": ["181"],
    "features": ["genres:Comedy"],
    "diversity": 0.2,
}
_RATING_QUERY: dict[str, Any] = {
    "history": [{"item_id": "1", "rating": 4}, {"item_id": "50", "rating": 5}],
    "items": ["181", "100"],
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


class _RequestModel(BaseModel):
    # Strict: a number is not accepted as text. Unknown keys are refused, because they are most likely typos.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class HistoryItem(_RequestModel):
    """An item of a history."""

    item_id: ItemId
    weight: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] = Field(
        default=1.0, description="Weight of the item. The weights of an item that occurs twice are added."
    )


class RecommendationQuery(_RequestModel):
    """A user's history and options for the recommendations. The service stores nothing of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_QUERY]})

    history: Annotated[list[HistoryItem], Field(max_length=MAX_HISTORY)] = Field(
        default=[],
        description="Items that the user liked, oldest first. If it is empty, popular items are recommended: "
        "those that the model itself ranks first for a user of whom nothing is known.",
    )
    k: Annotated[int, Field(ge=1, le=MAX_K), BeforeValidator(_whole)] = Field(
        default=10, description="Number of recommendations."
    )
    exclude: Annotated[list[ItemId], Field(max_length=MAX_EXCLUDED)] = Field(
        default=[],
        description="Items not to recommend, in addition to those of the history. Unknown ones are ignored.",
    )
    features: Annotated[list[ItemId], Field(max_length=MAX_FEATURES)] = Field(
        default=[],
        description="Recommend only items with at least one of these features; empty for all items. No item "
        "has an unknown feature, so with unknown ones alone nothing is recommended.",
    )
    diversity: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = Field(
        default=0.0, description="From 0 (the best scores) to 1 (the most different of the good items)."
    )


class RecommendationQueries(_RequestModel):
    """Several queries in one request."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"requests": [_QUERY]}]})

    requests: Annotated[list[RecommendationQuery], Field(min_length=1, max_length=MAX_BATCH)]


class RatedItem(_RequestModel):
    """An item that the user rated."""

    item_id: ItemId
    rating: Annotated[float, Field(allow_inf_nan=False)] = Field(description="Within the model's scale.")


class RatingQuery(_RequestModel):
    """A user's ratings and the items whose ratings to predict. The service stores nothing of it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RATING_QUERY]})

    history: Annotated[list[RatedItem], Field(max_length=MAX_HISTORY)] = Field(
        default=[],
        description="Items that the user rated, each at most once; empty for an unknown user.",
    )
    items: Annotated[list[ItemId], Field(min_length=1, max_length=MAX_RATED)] = Field(
        description="Items whose ratings to predict."
    )


class Feedback(_RequestModel):
    """A recommended item that a user chose, and the version that recommended it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_FEEDBACK]})

    version: Annotated[int, Field(ge=1, lt=2**31), BeforeValidator(_whole)]
    item_id: ItemId


class ModelVersion(BaseModel):
    """The version that a response comes from."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MODEL]})

    version: int
    round: int
    sha256: str


class RecommendationReason(BaseModel):
    """A reason for a recommendation. The shares of all its reasons add up to 1."""

    kind: Literal["history", "popularity", "other"]
    item_id: str | None = Field(description="An item of the history; null for popularity and other.")
    title: str
    share: float


class RecommendedItem(BaseModel):
    """A recommended item."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RECOMMENDATION]})

    item_id: str
    title: str
    score: float = Field(description="Comparable only within one response.")
    reasons: list[RecommendationReason]


class RecommendationResponse(BaseModel):
    """Recommendations, best first."""

    model: ModelVersion
    recommendations: list[RecommendedItem]
    unknown: Unknown


class UserRecommendationResponse(RecommendationResponse):
    """Recommendations for a user of this silo."""

    answered_from: Literal["embedding", "stored history", "history"] = Field(
        description="The user's trained embedding; for a user without one, the history that the silo stores; "
        "for a user that the silo does not know, the history in the request."
    )


class BatchedRecommendations(BaseModel):
    """The recommendations for one query of a batch."""

    recommendations: list[RecommendedItem]
    unknown: Unknown


class BatchResponse(BaseModel):
    """The answers to a batch of queries, in the order of the queries, all from one version."""

    model: ModelVersion
    answers: list[BatchedRecommendations]


class PredictedRating(BaseModel):
    """A predicted rating of an item and its uncertainty."""

    item_id: str
    title: str
    rating: float = Field(description="The expected rating, within the scale.")
    low: float = Field(description="Lower end of the 90 % interval of the rating.")
    high: float = Field(description="Upper end of the 90 % interval of the rating.")
    deviation: float = Field(description="Standard deviation of the rating.")
    spread: float = Field(
        description="Standard deviation of the expected rating. It falls as the model knows more of the user."
    )


class RatingResponse(BaseModel):
    """The predicted ratings, in the order of the known items in the request."""

    model: ModelVersion
    ratings: list[PredictedRating]
    unknown: list[str] = Field(
        description="Ids in the history and the items that the version does not know. They are left out."
    )


class SimilarItem(BaseModel):
    """A similar item."""

    item_id: str
    title: str
    similarity: float = Field(description="From -1 to 1.")


class SimilarItems(BaseModel):
    """Similar items, most similar first."""

    model: ModelVersion
    items: list[SimilarItem]


class Item(BaseModel):
    """An item of the catalogue."""

    item_id: str
    title: str
    features: list[str]


class Items(BaseModel):
    """Items that match a search, best match first."""

    model: ModelVersion
    items: list[Item]


class GateResult(BaseModel):
    """The verdict of a gate when the version was promoted."""

    gate: str
    passed: bool
    observed: str
    required: str


class IndexFacts(BaseModel):
    """The index of a model with many items, which may miss some of the best ones.

    Without a filter, and with a history, it finds the items whose exact scores an answer ranks.
    """

    lists: int = Field(description="Number of lists of items.")
    lists_read: int = Field(description="Number of lists that an answer reads.")
    recall_at_10: float = Field(
        description="Share of the ten best items that it finds, for histories made from the model."
    )


class PrivacyFacts(BaseModel):
    """Differential privacy of the model and of all figures of its job together."""

    unit: str = Field(description="Who is protected, with all interactions: each user.")
    epsilon: float
    delta: float
    multiplier: float = Field(description="Standard deviation of the noise over the L2 sensitivity.")
    mechanism: str = Field(description="What draws the noise.")
    summands: int = Field(description="Least number of clients in a sum; each adds that share of the noise.")
    noise_by: str = Field(
        description="Who adds the noise. Without secure sums the coordinator itself may learn more."
    )
    figures_share: float = Field(description="Share of the privacy loss that the job's evaluations had.")
    account: str = Field(description="The account that was charged, see fedrec privacy status.")
    budget: float = Field(description="Epsilon that all jobs of the account may spend together in a period.")
    period: str = Field(description="What the budget is for: ever, or a calendar year or month.")


class ModelFacts(ModelVersion):
    """The served model and the decision to serve it."""

    model_name: str
    job_id: str
    items: int
    dims: int
    committed_at: str
    privacy: PrivacyFacts | None = Field(description="Null without differential privacy.")
    gates: list[GateResult]
    decided_by: str | None
    decided_at: str | None
    reason: str | None
    ledger_entry: str | None = Field(description="Hash of the decision in the ledger, see fedrec audit.")
    index: IndexFacts | None = Field(description="Null where each answer takes a pass over all items.")
    challenger: ModelVersion | None


class Status(BaseModel):
    """The state of the process or of a request."""

    status: str


class RequestError(BaseModel):
    """An error in a request."""

    where: str
    what: str


class ProblemDetails(BaseModel):
    """An error response by RFC 9457."""

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
    errors: list[RequestError] | None = None


RECOMMENDATION_QUERY: TypeAdapter[RecommendationQuery] = TypeAdapter(RecommendationQuery)
RECOMMENDATION_QUERIES: TypeAdapter[RecommendationQueries] = TypeAdapter(RecommendationQueries)
RATING_QUERY: TypeAdapter[RatingQuery] = TypeAdapter(RatingQuery)
FEEDBACK: TypeAdapter[Feedback] = TypeAdapter(Feedback)


def schema_of(kind: Any) -> dict[str, str]:
    """Return a reference to the schema in the OpenAPI document."""
    return {"$ref": f"#/components/schemas/{kind.__name__}"}
