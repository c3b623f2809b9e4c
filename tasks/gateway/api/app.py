"""The gateway as an ASGI application: its routes, its log, and errors as problems."""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib.metadata import version as version_of
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.errors import FedrecError
from tasks.gateway.api import schema
from tasks.gateway.api.endpoints import Gateway
from tasks.gateway.api.metrics import count_request
from tasks.gateway.api.problems import busy
from tasks.gateway.settings import GatewaySettings
from tasks.silos.keys import public_pem
from tasks.web import json_log
from tasks.web.problem import MEDIA_TYPE, Problem

_PROBLEMS = {
    401: "The request is not signed by a trusted key, or not now, or its body is another one.",
    403: "The silo's key was revoked.",
    404: "There is no such order, object or file for this silo.",
    408: "The body arrives too slowly.",
    409: "The request was sent before, or the order has ended.",
    411: "The length of the body is missing.",
    413: "The body is too large.",
    429: "Too many objects of this silo are under way. Retry-After gives the seconds to wait.",
    422: "The body or the query is not what is expected.",
}
_BODY = (408, 411, 413, 422, 429)


def from_environment() -> FastAPI:
    """Return the application with the settings that the command wrote into the environment."""
    return make_app(GatewaySettings.of_environment())


def make_app(settings: GatewaySettings) -> FastAPI:
    """Return the application with these settings."""
    gateway = Gateway(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with gateway.watch.looking():
            yield

    app = FastAPI(
        title="fedrec gateway",
        summary="Orders for silos, and their answers. Every request is signed (RFC 9421).",
        version=version_of("fedrec"),
        lifespan=lifespan,
    )
    _add_routes(app, gateway)
    _handle_errors(app, gateway)
    app.add_middleware(RequestLog)
    _describe(app)
    return app


def _add_routes(app: FastAPI, gateway: Gateway) -> None:
    def add(
        method: str,
        path: str,
        endpoint: Callable[..., Awaitable[Response]],
        kind: Any,
        *statuses: int,
        done: int = 200,
        takes: Any = None,
    ) -> None:
        problem = {"content": {MEDIA_TYPE: {"schema": schema.RefusalDetails.model_json_schema()}}}
        app.add_api_route(
            path,
            endpoint,
            methods=[method],
            status_code=done,
            response_model=None,
            openapi_extra={"security": [{"signature": []}]} | (_body_of(takes) if takes else {}),
            responses={
                **({done: {"model": kind}} if kind else {}),
                **{each: {"description": _PROBLEMS[each], **problem} for each in (401, 403, 409, *statuses)},
            },
        )

    order = "/v1/orders/{order_id}"
    add("POST", "/v1/enrolments", gateway.enrol, None, *_BODY, done=204, takes=schema.Enrolment)
    add("GET", "/v1/facts", gateway.facts, schema.GatewayFacts)
    add("GET", "/v1/roster", gateway.roster, schema.Roster)
    add("GET", "/v1/promoted", gateway.promoted, schema.PromotedModels)
    add("GET", "/v1/promoted/{sha256}", gateway.promoted_file, None, 404)
    add("GET", "/v1/orders", gateway.order, schema.OrderBody, 422)
    add("GET", "/v1/objects/{sha256}", gateway.object, None, 404, 429)
    add(
        "PUT",
        f"{order}/updates/{{sha256}}",
        gateway.update,
        schema.Accepted,
        404,
        *_BODY,
        done=201,
    )
    add(
        "PUT",
        "/v1/orders/{order_id}/answer",
        gateway.answer,
        schema.Accepted,
        404,
        *_BODY,
        done=201,
        takes=bytes,
    )
    add(
        "PUT",
        "/v1/orders/{order_id}/failure",
        gateway.failure,
        None,
        404,
        *_BODY,
        done=204,
        takes=schema.Failure,
    )

    @app.get("/v1/key", response_class=PlainTextResponse)
    async def key() -> str:
        """Return the coordinator's public key as PEM, whose fingerprint silos compare."""
        return public_pem(gateway.public).decode()

    @app.get("/healthz", response_class=PlainTextResponse)
    async def health() -> str:
        """Return "ok" while the process answers."""
        return "ok"


def _body_of(kind: Any) -> dict[str, Any]:
    """Return the OpenAPI of a body of this kind, which the endpoint reads itself after the signature."""
    content: dict[str, Any] = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    if kind is not bytes:
        content = {"application/json": {"schema": kind.model_json_schema()}}
    return {"requestBody": {"required": True, "content": content}}


def _describe(app: FastAPI) -> None:
    """Add to the OpenAPI document how requests are signed."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        found = plain()
        schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
        schemes["signature"] = {
            "type": "http",
            "scheme": "signature",
            "description": "HTTP Message Signatures (RFC 9421) with the silo's Ed25519 key over @method, "
            '@path, @query and content-digest, with created, nonce, keyid and the tag "fedrec/1 ID", where '
            "ID is the id of the coordinator's key.",
        }
        return found

    app.openapi = document  # type: ignore[method-assign]


def _handle_errors(app: FastAPI, gateway: Gateway) -> None:
    """Answer errors by problems. The answer to a signed request is signed, so that a silo can believe it."""

    def answered(request: Request, problem: Problem) -> Response:
        response = problem.response()
        if "signature" in request.headers:
            # Headers may be anything, and a stranger needs no signature.
            with contextlib.suppress(Exception):
                return gateway.signed(request, response)
        return response

    async def refused(request: Request, error: Exception) -> Response:
        assert isinstance(error, Problem)  # noqa: S101  # registered for it
        return answered(request, error)

    async def invalid(request: Request, _: Exception) -> Response:
        # The message would repeat the input.
        what = "The query has a value of the wrong type or out of range."
        return answered(request, Problem(422, "invalid-request", what))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101  # registered for it
        return answered(
            request, Problem(error.status_code, "http", str(error.detail), dict(error.headers or {}))
        )

    async def database_away(request: Request, error: Exception) -> Response:
        json_log.write("error", "database", error=type(error).__name__)
        return answered(request, busy())

    async def failed(request: Request, error: Exception) -> Response:
        json_log.write("error", "failed", error=f"{type(error).__name__}: {error}")
        what = "The gateway cannot do this now. Its log says why."
        return answered(request, Problem(503, "failed", what, {"retry-after": "5"}))

    app.exception_handlers |= {
        Problem: refused,
        RequestValidationError: invalid,
        HTTPException: http_error,
        SQLAlchemyError: database_away,
        FedrecError: failed,
        OSError: failed,
    }


class RequestLog:
    """ASGI middleware that counts each request and writes it to the log.

    Args:
        app: the application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_on)
        finally:
            seconds = time.perf_counter() - began
            # The route's template instead of the path, so that there are few of them.
            endpoint = getattr(scope.get("route"), "path_format", "other")
            count_request(endpoint, status, seconds)
            silo = scope.get("state", {}).get("silo")
            json_log.write(
                "info",
                "request",
                method=scope["method"],
                endpoint=endpoint,
                status=status,
                silo=silo,
                ms=round(seconds * 1000, 3),
            )
