"""Error responses in the format `application/problem+json` of RFC 9457."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error that ends a request.

    Args:
        status: HTTP status.
        kind: stable name in kebab case, for programs.
        detail: what is wrong and what to do, for people.
        headers: additional response headers.
        errors: errors in a body or query, each as {"where", "what"}.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        *,
        errors: Sequence[Mapping[str, str]] = (),
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.headers, self.errors = headers, errors

    def response(self) -> Response:
        """Return the response."""
        content: dict[str, Any] = {
            "type": f"urn:fedrec:problem:{self.kind}",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            content["errors"] = self.errors
        return Response(orjson.dumps(content), self.status, dict(self.headers or {}), media_type=MEDIA_TYPE)
