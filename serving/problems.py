"""The problems of requests for recommendations."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from tasks.web.problem import Problem


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
    return Problem(422, "invalid-request", f"{first['where']}: {first['what']}{more}.", errors=errors[:20])


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
