"""Admission control: the checks before every request, and the headers, metrics and log line after it."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections import OrderedDict
from typing import Any

from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import metrics
from serving.settings import Settings
from tasks.web import json_log
from tasks.web.problem import Problem

# Allows the page's own script and style and requests to this service. Forbids other origins and frames.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
_NO_STORE = (b"cache-control", b"no-store")
_NEVER_LIMITED = ("/healthz", "/readyz", "/metrics")
_MOST_ADDRESSES = 10_000


class Rate:
    """A token bucket per client address. With too many addresses, the least recently used are dropped.

    Args:
        rate: tokens per second of each address; 0 for no limit.
        burst: maximal number of tokens of an address.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, max(burst, 1.0)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, address: str, now: float) -> float:
        """Take a token and return 0, or return the seconds until there is a token."""
        if not self._rate:
            return 0.0
        left, then = self._buckets.pop(address, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        taken = left >= 1.0
        self._buckets[address] = (left - taken, now)
        if len(self._buckets) > _MOST_ADDRESSES:
            self._buckets.popitem(last=False)
        return 0.0 if taken else (1.0 - left) / self._rate


class AdmissionGate:
    """ASGI middleware around the whole application that admits, limits and logs requests.

    Args:
        app: the application.
        settings: token, limits and log.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings
        self._rate = Rate(settings.rate, settings.burst)
        self._token = b"Bearer " + settings.token.encode() if settings.token else b""
        self._waiting = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        status = 0

        async def send_on(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), *_HEADERS]
                if not any(name == b"cache-control" for name, _ in headers):
                    headers.append(_NO_STORE)
                message["headers"] = headers
            await send(message)

        self._waiting += 1
        try:
            self._require_admission(scope)
            await self._app(scope, receive, send_on)
        except Problem as problem:
            await problem.response()(scope, receive, send_on)
        finally:
            self._waiting -= 1
            self._record(scope, status, time.perf_counter() - begun)

    def _require_admission(self, scope: Scope) -> None:
        """Raise a `Problem` (401, 413, 429 or 503) unless the request is admitted."""
        path = scope["path"]
        headers = dict(scope["headers"])
        if self._token and path.startswith(("/v1/", "/metrics")):
            authorization = headers.get(b"authorization", b"")
            if not hmac.compare_digest(authorization, self._token):
                raise Problem(
                    401,
                    "unauthorised",
                    "This service requires a bearer token. Send the header Authorization: Bearer TOKEN.",
                    headers={"www-authenticate": "Bearer"},
                )
        if path in _NEVER_LIMITED:
            return
        if self._waiting > self._settings.max_waiting:
            raise Problem(503, "busy", "The service is busy. Retry later.", headers={"retry-after": "1"})
        client = scope.get("client")
        wait = self._rate.wait(client[0] if client else "", time.monotonic())
        if wait:
            raise Problem(
                429,
                "too-many-requests",
                f"This address sends more than {self._settings.rate:g} requests per second.",
                headers={"retry-after": str(max(1, round(wait)))},
            )
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length) > self._settings.max_body:
            raise too_large(self._settings)

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        # The route's template instead of the path, because a path may name an item or a user.
        route = scope.get("route")
        endpoint = getattr(route, "path_format", "") or scope.get("endpoint_name", "other")
        metrics.answered(endpoint, status, seconds)
        if self._settings.access_log and endpoint not in _NEVER_LIMITED:
            facts: dict[str, Any] = {"method": scope["method"], "endpoint": endpoint, "status": status}
            version = scope.get("model_version")
            if version is not None:
                facts["version"] = version
            json_log.write("info", "request", **facts, ms=round(seconds * 1000, 3))


async def body_of(request: Request, settings: Settings) -> bytes:
    """Return the body of a request.

    Raises:
        Problem: 400, the client disconnected; 408, the body took too long; 413, the body is too large; 415,
            the content type is not JSON.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Problem(415, "not-json", "The content type must be application/json.")
    pieces: list[bytes] = []
    size = 0
    try:
        async with asyncio.timeout(settings.body_timeout):
            async for piece in request.stream():
                size += len(piece)
                if size > settings.max_body:
                    raise too_large(settings)
                pieces.append(piece)
    except TimeoutError:
        raise Problem(408, "too-slow", "The body did not arrive in time.") from None
    except ClientDisconnect:
        raise Problem(400, "gone", "The client disconnected before its body had arrived.") from None
    return b"".join(pieces)


def too_large(settings: Settings) -> Problem:
    """Return a 413 whose detail names the limit."""
    return Problem(413, "too-large", f"The body may have at most {settings.max_body} bytes.")
