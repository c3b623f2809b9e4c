"""Error responses in the format `application/problem+json` of RFC 9457."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson
from pydantic import ValidationError
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """An error that ends a request.

    Args:
        status: HTTP status.
        kind: stable name in kebab case, for programs.
        detail: what is wrong and what to do, for people.
        errors: errors in a body or query, each as {"where", "what"}.
        headers: additional response headers.
    """

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        errors: Sequence[Mapping[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.kind, self.detail = status, kind, detail
        self.errors, self.headers = errors, headers

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


def of_validation(error: ValidationError) -> Problem:
    """Return a 400 for a body that is not JSON and a 422 for invalid values. Neither repeats the input."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    if found[0]["type"] == "json_invalid":
        return Problem(
            400, "bad-json", f"The body is not JSON: {found[0]['msg'].removeprefix('Invalid JSON: ')}."
        )
    return unprocessable(
        [{"where": ".".join(map(str, each["loc"])) or "body", "what": each["msg"]} for each in found]
    )


def unprocessable(errors: Sequence[Mapping[str, str]]) -> Problem:
    """Return a 422 with these errors. The detail names the first."""
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(422, "invalid-request", f"{first['where']}: {first['what']}{more}.", errors[:20])


def not_ready(model_name: str) -> Problem:
    """Return a 503, because no version of the model is loaded."""
    named = f"--model {shlex.quote(model_name)}"
    return Problem(
        503,
        "no-model",
        f"No model is loaded yet: no version of {model_name!r} is published here. Promote one with fedrec "
        f"promote {named}, and run fedrec publish --watch {named}.",
        headers={"retry-after": "2"},
    )
