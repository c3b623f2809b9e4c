"""The application: endpoints over the slot. Nothing that a request brings is kept."""

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
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.types import ASGIApp

from serving import log, metrics, schema
from serving.challenge import Challenge
from serving.gate import Gate, body_of
from serving.openapi import body, described, replies
from serving.problems import Problem, not_ready, of_validation, unprocessable
from serving.served import Served
from serving.settings import Settings
from serving.slot import Slot
from tasks.bundles.pointer import nudge_path

STATIC = Path(__file__).parent / "static"
T = TypeVar("T")


class Service:
    """The endpoints.

    Args:
        settings: limits and folder.
        slot: what answers.
        challenge: what counts, and lets the challenger answer.
    """

    def __init__(self, settings: Settings, slot: Slot, challenge: Challenge) -> None:
        self._settings, self._slot, self._challenge = settings, slot, challenge

    async def recommend(self, request: Request) -> Response:
        """The best items for a history."""
        data = await body_of(request, self._settings)
        question = _parsed(schema.QUESTION, data)
        pair = self._slot.pair
        served = self._challenge.choose(pair, data)
        begun = time.perf_counter()
        found = await _worked_out(served, served.recommend, question)
        self._challenge.answered(served)
        self._challenge.shadow(pair, served, data, question, found, time.perf_counter() - begun)
        return _reply(request, served, {"recommendations": found})

    async def recommend_to_user(self, request: Request, user_id: str) -> Response:
        """The best items for a user of this silo, by the user's own embedding where there is one."""
        question = _parsed(schema.QUESTION, await body_of(request, self._settings))
        served = self._slot.pair.champion
        source, found = await _worked_out(served, served.recommend_to, user_id, question)
        self._challenge.answered(served)
        return _reply(request, served, {"recommendations": found, "answered_from": source})

    async def recommend_batch(self, request: Request) -> Response:
        """The best items for several histories, all from one version."""
        questions = _parsed(schema.QUESTIONS, await body_of(request, self._settings)).requests
        served = self._slot.pair.champion

        def answers() -> list[dict[str, Any]]:
            return [{"recommendations": served.recommend(question)} for question in questions]

        found = await run_in_threadpool(answers)
        self._challenge.answered(served, len(found))
        return _reply(request, served, {"answers": found})

    async def ratings(self, request: Request) -> Response:
        """The ratings that a user would give to items, with how sure that is."""
        question = _parsed(schema.RATING_QUESTION, await body_of(request, self._settings))
        served = self._slot.pair.champion
        found = await run_in_threadpool(served.rate, question)
        return _reply(request, served, {"ratings": found})

    async def similar(
        self,
        request: Request,
        item_id: str,
        k: Annotated[int, Query(ge=1, le=schema.MAX_K)] = 10,
    ) -> Response:
        """Items like this one."""
        served = self._slot.pair.champion
        row = served.row(item_id)
        return _reply(request, served, {"items": await _worked_out(served, served.similar, row, k)})

    async def items(
        self,
        request: Request,
        query: Annotated[str, Query(max_length=schema.MAX_QUERY)] = "",
        limit: Annotated[int, Query(ge=1, le=schema.MAX_K)] = 10,
    ) -> Response:
        """Items whose title holds the query; popular ones where it is empty."""
        served = self._slot.pair.champion
        return _reply(request, served, {"items": await _worked_out(served, served.search, query, limit)})

    async def model(self, request: Request) -> Response:
        """Which model answers, and why it does."""
        pair = self._slot.pair
        facts, decision = pair.champion.bundle.facts, pair.champion.target.decision
        names = ("model_name", "job_id", "items", "dims", "committed_at", "epsilon")
        content = {
            **pair.champion.model,
            **{name: facts[name] for name in names},
            "gates": decision.get("gates", []),
            **{name: decision.get(name) for name in ("decided_by", "decided_at", "reason", "ledger_entry")},
            "challenger": pair.challenger.model if pair.challenger else None,
        }
        return _json(content)

    async def feedback(self, request: Request) -> Response:
        """Counts that a recommended item was chosen; who chose it is neither asked nor kept."""
        sent = _parsed(schema.FEEDBACK, await body_of(request, self._settings))
        self._challenge.hit(sent.version, sent.item_id, self._slot.pair)
        return _json({"status": "counted"}, 202)

    async def refresh(self) -> Response:
        """Has the publisher look at the registry at once; for a webhook, whose body is not read."""
        nudge_path(self._settings.root).touch()
        return _json({"status": "told"}, 202)

    async def health(self) -> Response:
        """Whether the process lives."""
        return _json({"status": "alive"})

    async def readiness(self) -> Response:
        """Whether a model is loaded."""
        if not self._slot.is_filled:
            raise not_ready()
        return _json({"status": "ready"})

    async def metrics(self) -> Response:
        """Numbers for Prometheus."""
        return Response(metrics.exposition(), media_type="text/plain; version=0.0.4; charset=utf-8")


def create_app(settings: Settings) -> ASGIApp:
    """The whole application, with its watch over the pointer."""
    slot = Slot(settings.root, settings.poll, needs_users=settings.local_users)
    challenge = Challenge(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await slot.look()
        tasks = [asyncio.create_task(slot.watch()), asyncio.create_task(_written(challenge))]
        yield
        for task in tasks:
            task.cancel()
        await challenge.write()

    app = FastAPI(
        title="fedrec",
        version=version_of("fedrec"),
        summary="Recommendations of the promoted model, from the history in the request alone.",
        lifespan=lifespan,
        # Its pages load scripts from elsewhere; the document itself is at /openapi.json.
        docs_url=None,
        redoc_url=None,
    )
    _add_routes(app, Service(settings, slot, challenge), local_users=settings.local_users)
    _add_page(app)
    _add_handlers(app)
    described(app, asks_for_token=bool(settings.token))
    return Gate(app, settings)


def from_environment() -> ASGIApp:
    """For uvicorn, which makes the application in each worker."""
    return create_app(Settings.from_environment())


def _add_routes(app: FastAPI, service: Service, *, local_users: bool) -> None:
    def add(path: str, method: str, endpoint: Callable[..., Any], tag: str, **more: Any) -> None:
        app.add_api_route(path, endpoint, methods=[method], tags=[tag], response_class=Response, **more)

    add(
        "/v1/recommendations",
        "POST",
        service.recommend,
        "recommendations",
        openapi_extra=body(schema.Question),
        responses=replies(schema.Answer, 400, 404, 408, 413, 415, 422),
    )
    add(
        "/v1/recommendations/batch",
        "POST",
        service.recommend_batch,
        "recommendations",
        openapi_extra=body(schema.Questions),
        responses=replies(schema.Answers, 400, 404, 408, 413, 415, 422),
    )
    add(
        "/v1/ratings",
        "POST",
        service.ratings,
        "ratings",
        openapi_extra=body(schema.RatingQuestion),
        responses=replies(schema.RatingAnswer, 400, 404, 408, 409, 413, 415, 422),
    )
    add(
        "/v1/items/{item_id:path}/similar",  # an id may hold a slash
        "GET",
        service.similar,
        "items",
        responses=replies(schema.SimilarItems, 404, 422),
    )
    if local_users:
        add(
            "/v1/users/{user_id:path}/recommendations",
            "POST",
            service.recommend_to_user,
            "recommendations",
            openapi_extra=body(schema.Question),
            responses=replies(schema.UserAnswer, 400, 404, 408, 413, 415, 422),
        )
    add("/v1/items", "GET", service.items, "items", responses=replies(schema.Items, 422))
    add("/v1/model", "GET", service.model, "model", responses=replies(schema.ModelFacts))
    add(
        "/v1/feedback",
        "POST",
        service.feedback,
        "recommendations",
        status_code=202,
        openapi_extra=body(schema.Feedback),
        responses=replies(schema.Status, 400, 404, 408, 413, 415, 422, done=202),
    )
    add(
        "/v1/refresh",
        "POST",
        service.refresh,
        "model",
        status_code=202,
        responses=replies(schema.Status, done=202),
    )
    add("/healthz", "GET", service.health, "process", responses=replies(schema.Status))
    add("/readyz", "GET", service.readiness, "process", responses=replies(schema.Status))
    add("/metrics", "GET", service.metrics, "process", responses=replies(None))


def _add_page(app: FastAPI) -> None:
    """The page at / and its files, where there are any."""
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
        log.write("error", "unexpected", error=repr(found)[:500])
        return Problem(500, "unexpected", "The service failed; its log says why.").response()


async def _written(challenge: Challenge) -> None:
    """What is counted is written down now and then."""
    while True:
        await asyncio.sleep(1.0)
        try:
            await challenge.write()
        except OSError as error:
            log.write("error", "counts not written", error=str(error))


def _parsed(adapter: TypeAdapter[T], data: bytes) -> T:
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        raise of_validation(error) from None


async def _worked_out(served: Served, work: Callable[..., T], *arguments: Any) -> T:
    return await run_in_threadpool(work, *arguments) if served.is_slow else work(*arguments)


def _reply(request: Request, served: Served, content: dict[str, Any]) -> Response:
    request.scope["model_version"] = served.version
    return _json({"model": served.model, **content})


def _json(content: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(content), status, media_type="application/json")
