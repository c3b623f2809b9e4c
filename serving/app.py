"""The application: its endpoints. It stores nothing of a request."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Annotated, Any, TypeVar

import orjson
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from pydantic import BaseModel, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.types import ASGIApp

from serving import metrics, schema
from serving.challenge import Challenge
from serving.gate import AdmissionGate, body_of
from serving.openapi import body, describe, replies
from serving.problems import of_validation, unprocessable
from serving.reference import reference_page
from serving.served import Served
from serving.settings import Settings
from serving.slot import Slot
from tasks.bundles.pointer import nudge_path
from tasks.web import json_log
from tasks.web.problem import Problem

STATIC = Path(__file__).parent / "static"
# The errors of every endpoint that reads a body.
_BODY_ERRORS = (400, 408, 413, 415, 422)
T = TypeVar("T")


class Service:
    """The endpoints.

    Args:
        settings: limits and folder.
        slot: the served versions.
        challenge: counts answers and lets the challenger answer some.
    """

    def __init__(self, settings: Settings, slot: Slot, challenge: Challenge) -> None:
        self._settings, self._slot, self._challenge = settings, slot, challenge

    async def recommend(self, request: Request) -> Response:
        """Return the best items for a history."""
        data = await body_of(request, self._settings)
        query = _parsed(schema.RECOMMENDATION_QUERY, data)
        pair = self._slot.pair
        served = self._challenge.choose(pair, data)
        begun = time.perf_counter()
        answer = await _computed(served.is_slow_for(query), served.recommend, query)
        self._challenge.answered(served)
        self._challenge.shadow(pair, served, data, query, answer, time.perf_counter() - begun)
        return _reply(request, served, answer)

    async def recommend_to_user(self, request: Request, user_id: str) -> Response:
        """Return the best items for a user of this silo, by the user's trained embedding if there is one."""
        query = _parsed(schema.RECOMMENDATION_QUERY, await body_of(request, self._settings))
        served = self._slot.pair.champion
        answer = await _computed(served.is_slow_for(query), served.recommend_to, user_id, query)
        self._challenge.answered(served)
        return _reply(request, served, answer)

    async def recommend_batch(self, request: Request) -> Response:
        """Return the best items for several histories, all from one version."""
        queries = _parsed(schema.RECOMMENDATION_QUERIES, await body_of(request, self._settings)).requests
        served = self._slot.pair.champion

        found = await run_in_threadpool(lambda: [served.recommend(query) for query in queries])
        self._challenge.answered(served, len(found))
        return _reply(request, served, {"answers": found})

    async def ratings(self, request: Request) -> Response:
        """Return predicted ratings of items and their uncertainty."""
        query = _parsed(schema.RATING_QUERY, await body_of(request, self._settings))
        served = self._slot.pair.champion
        return _reply(request, served, await run_in_threadpool(served.rate, query))

    async def similar(
        self,
        request: Request,
        item_id: str,
        k: Annotated[int, Query(ge=1, le=schema.MAX_K)] = 10,
    ) -> Response:
        """Return items that are similar to this one."""
        served = self._slot.pair.champion
        row = served.row(item_id)
        return _reply(request, served, {"items": await _computed(served.is_slow, served.similar, row, k)})

    async def items(
        self,
        request: Request,
        query: Annotated[str, Query(max_length=schema.MAX_QUERY)] = "",
        limit: Annotated[int, Query(ge=1, le=schema.MAX_K)] = 10,
    ) -> Response:
        """Return items whose titles contain the query, or popular items for an empty query."""
        served = self._slot.pair.champion
        return _reply(
            request, served, {"items": await _computed(served.is_slow, served.search, query, limit)}
        )

    async def model(self, request: Request) -> Response:
        """Return the served model and the decision to serve it."""
        pair = self._slot.pair
        facts, decision = pair.champion.bundle.facts, pair.champion.target.decision
        names = ("model_name", "job_id", "items", "dims", "committed_at")
        content = {
            **pair.champion.model,
            **{name: facts[name] for name in names},
            "privacy": facts.get("privacy"),
            "gates": decision.get("gates", []),
            **{name: decision.get(name) for name in ("decided_by", "decided_at", "reason", "ledger_entry")},
            "index": pair.champion.bundle.index,
            "challenger": pair.challenger.model if pair.challenger else None,
        }
        return _json(content)

    async def feedback(self, request: Request) -> Response:
        """Count that a recommended item was chosen. The service neither receives nor stores who chose it."""
        sent = _parsed(schema.FEEDBACK, await body_of(request, self._settings))
        self._challenge.hit(sent.version, sent.item_id, self._slot.pair)
        return _json({"status": "counted"}, 202)

    async def refresh(self) -> Response:
        """Make the publisher read the registry at once. This is for webhooks; the body is not read."""
        nudge_path(self._settings.root).touch()
        return _json({"status": "accepted"}, 202)

    async def health(self) -> Response:
        """Return that the process is alive."""
        return _json({"status": "alive"})

    async def readiness(self) -> Response:
        """Return whether a version of the model is loaded."""
        if not self._slot.is_filled:
            raise self._slot.not_ready()
        return _json({"status": "ready"})

    async def metrics(self) -> Response:
        """Return the metrics for Prometheus."""
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def create_app(settings: Settings) -> ASGIApp:
    """Return the application. While it runs, it follows the pointer and writes the counts."""
    slot = Slot(settings.root, settings.model_name, settings.poll, settings.publisher_silence)
    challenge = Challenge(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await slot.update()
        tasks = [asyncio.create_task(slot.watch()), asyncio.create_task(_write_counts(challenge))]
        yield
        for task in tasks:
            task.cancel()
        await challenge.write()

    app = FastAPI(
        title="fedrec",
        version=version_of("fedrec"),
        summary="Recommendations of the promoted model, computed only from the history in the request.",
        lifespan=lifespan,
        # FastAPI's documentation pages load scripts from other hosts. /docs is a page of our own.
        docs_url=None,
        redoc_url=None,
    )
    _add_routes(app, Service(settings, slot, challenge), local_users=settings.local_users)
    _add_page(app)
    _add_handlers(app)
    describe(app, needs_token=bool(settings.token))
    return AdmissionGate(app, settings)


def from_environment() -> ASGIApp:
    """Return the application with the settings of the environment. Uvicorn calls it in each worker."""
    return create_app(Settings.from_environment())


def _add_routes(app: FastAPI, service: Service, *, local_users: bool) -> None:
    def add(path: str, method: str, endpoint: Callable[..., Any], tag: str, **more: Any) -> None:
        app.add_api_route(path, endpoint, methods=[method], tags=[tag], response_class=Response, **more)

    def post(
        path: str,
        endpoint: Callable[..., Any],
        tag: str,
        sent: type[BaseModel],
        reply: type[BaseModel],
        *errors: int,
        done: int = 200,
    ) -> None:
        responses = replies(reply, *_BODY_ERRORS, *errors, done=done)
        add(path, "POST", endpoint, tag, status_code=done, openapi_extra=body(sent), responses=responses)

    one, several = schema.RecommendationQuery, schema.RecommendationQueries
    tag = "recommendations"
    post("/v1/recommendations", service.recommend, tag, one, schema.RecommendationResponse)
    post("/v1/recommendations/batch", service.recommend_batch, tag, several, schema.BatchResponse)
    post("/v1/ratings", service.ratings, "ratings", schema.RatingQuery, schema.RatingResponse, 409)
    similar = replies(schema.SimilarItems, 404, 422)
    # An id may contain a slash.
    add("/v1/items/{item_id:path}/similar", "GET", service.similar, "items", responses=similar)
    if local_users:
        path, reply = "/v1/users/{user_id:path}/recommendations", schema.UserRecommendationResponse
        post(path, service.recommend_to_user, tag, one, reply, 404)
    add("/v1/items", "GET", service.items, "items", responses=replies(schema.Items, 422))
    add("/v1/model", "GET", service.model, "model", responses=replies(schema.ModelFacts))
    post("/v1/feedback", service.feedback, tag, schema.Feedback, schema.Status, 404, done=202)
    refreshed = replies(schema.Status, done=202)
    add("/v1/refresh", "POST", service.refresh, "model", status_code=202, responses=refreshed)
    add("/healthz", "GET", service.health, "process", responses=replies(schema.Status))
    add("/readyz", "GET", service.readiness, "process", responses=replies(schema.Status))
    add("/metrics", "GET", service.metrics, "process", responses=replies(None))


def _add_page(app: FastAPI) -> None:
    """Add the page at /docs, and the page at / and its files, if they are installed."""
    app.add_route("/docs", lambda _: HTMLResponse(reference_page(app.openapi())), include_in_schema=False)
    if not (STATIC / "index.html").is_file():
        return
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_route("/", lambda _: FileResponse(STATIC / "index.html"), include_in_schema=False)


def _add_handlers(app: FastAPI) -> None:
    @app.exception_handler(Problem)
    async def problem(_: Request, found: Problem) -> Response:
        return found.response()

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, found: RequestValidationError) -> Response:
        return unprocessable(
            [{"where": str(each["loc"][-1]), "what": each["msg"]} for each in found.errors()]
        ).response()

    @app.exception_handler(HTTPException)
    async def http(_: Request, found: HTTPException) -> Response:
        headers = dict(found.headers or {})
        return Problem(found.status_code, "http", f"{found.detail}.", headers=headers).response()

    @app.exception_handler(Exception)
    async def unexpected(_: Request, found: Exception) -> Response:
        json_log.write("error", "unexpected", error=repr(found)[:500])
        return Problem(500, "unexpected", "The service failed. Its log has the cause.").response()


async def _write_counts(challenge: Challenge) -> None:
    while True:
        await asyncio.sleep(1.0)
        try:
            await challenge.write()
        except OSError as error:
            json_log.write("error", "counts not written", error=str(error))


def _parsed(adapter: TypeAdapter[T], data: bytes) -> T:
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise of_validation(error) from None


async def _computed(is_slow: bool, work: Callable[..., T], *arguments: Any) -> T:
    return await run_in_threadpool(work, *arguments) if is_slow else work(*arguments)


def _reply(request: Request, served: Served, content: dict[str, Any]) -> Response:
    request.scope["model_version"] = served.version
    return _json({"model": served.model, **content})


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
