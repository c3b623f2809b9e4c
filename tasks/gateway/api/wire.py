"""Requests and answers as bytes: a body is bounded before it is read and verified while it arrives."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator
from pathlib import Path

import orjson
from pydantic import BaseModel
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tasks.gateway.settings import GatewaySettings
from tasks.silos.http_signatures import Request as SignedRequest
from tasks.silos.http_signatures import digest_header
from tasks.web.problem import Problem

_PIECE_BYTES = 1_000_000


async def read_body(request: Request, content_digest: str, limit: int, settings: GatewaySettings) -> bytes:
    """Return the body of a request, which has the digest that its signature covers.

    Args:
        request: the request, whose signature is verified.
        content_digest: the signed digest.
        limit: largest number of bytes.
        settings: how slowly it may arrive.

    Raises:
        Problem: 400, the sender disconnected; 401, it is another body than the signed one; 408, it arrives
            too slowly; 411, its length is not told; 413, it is too large.
    """
    told = request.headers.get("content-length", "")
    if not told.isdigit():
        raise Problem(411, "no-length", "Tell the length of the body in Content-Length.")
    if int(told) > limit:
        raise Problem(413, "too-large", f"The body has {told} bytes, and at most {limit} are accepted.")
    pieces, length, digest = list[bytes](), 0, hashlib.sha256()
    loop = asyncio.get_running_loop()
    latest = loop.time() + settings.silence_s + int(told) / settings.slowest_bytes_s
    try:
        async with asyncio.timeout_at(latest) as limit_of_time:
            limit_of_time.reschedule(min(latest, loop.time() + settings.silence_s))
            async for piece in request.stream():
                limit_of_time.reschedule(min(latest, loop.time() + settings.silence_s))
                pieces.append(piece)
                length += len(piece)
                if length > limit:
                    message = f"The body has more than {limit} bytes."
                    raise Problem(413, "too-large", message, {"connection": "close"})
                digest.update(piece)
    except TimeoutError:
        raise Problem(408, "too-slow", "The body arrives too slowly.", {"connection": "close"}) from None
    except ClientDisconnect:
        raise Problem(400, "gone", "The sender disconnected before its body had arrived.") from None
    if digest_header(digest.hexdigest()) != content_digest:
        raise Problem(401, "other-body", "The body is not the one that was signed.")
    return b"".join(pieces)


def require_no_body(request: Request, content_digest: str) -> None:
    """Refuse a request with a body where none is expected."""
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    if has_body or content_digest != digest_header(sha256_of(b"")):
        raise Problem(401, "other-body", "This request has no body, but one was sent or signed.")


async def disconnected(request: Request) -> None:
    """Return when the sender of a request without a body has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def as_signed(request: Request) -> SignedRequest:
    """Return a request with the path and the query as they travelled."""
    target = request.scope["raw_path"].decode("latin-1")
    if query := request.scope["query_string"].decode("latin-1"):
        target += f"?{query}"
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        # A repeated header is the list of its values, as the signature covers it.
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return SignedRequest(request.method, target, headers)


def pieces_of(data: bytes) -> Iterator[bytes]:
    """Yield the bytes in pieces, of which the next waits until the one before was sent."""
    view = memoryview(data)
    for start in range(0, len(view), _PIECE_BYTES):
        yield bytes(view[start : start + _PIECE_BYTES])


def pieces_of_file(path: Path) -> Iterator[bytes]:
    """Yield the bytes of a file."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece


def json_response(body: BaseModel, status: int = 200) -> Response:
    """Return a response with these values as JSON."""
    return Response(orjson.dumps(body.model_dump()), status, media_type="application/json")


def sha256_of(data: bytes | memoryview) -> str:
    """Return the hexadecimal SHA-256."""
    return hashlib.sha256(data).hexdigest()
