"""A request that the gateway refuses, as `application/problem+json` (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Denied(Exception):
    """A reason to refuse a request.

    Args:
        status: HTTP status.
        kind: stable name in kebab case, for programs.
        detail: what is wrong and what to do, for people.
        headers: additional response headers.
    """

    def __init__(self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Return the response."""
        content = {
            "type": f"urn:fedrec:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        return Response(orjson.dumps(content), self.status, self.headers, media_type=MEDIA_TYPE)


def no_such(what: str) -> Denied:
    """Return a 404. Another silo's orders and objects are as unknown as those that do not exist."""
    return Denied(404, "not-found", f"There is no such {what} for this silo.")


def busy() -> Denied:
    """Return a 503: the database is away, or too slow."""
    return Denied(503, "busy", "The gateway cannot reach its database. Try again.", {"retry-after": "2"})
