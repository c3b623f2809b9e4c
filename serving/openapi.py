"""The OpenAPI document of the bodies and responses, which the endpoints read and write without FastAPI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving import schema
from tasks.web.problem import MEDIA_TYPE

_DESCRIPTIONS = {
    400: "The body is not JSON.",
    401: "The token is missing or wrong.",
    404: "There is no such item, feature or version.",
    408: "The body did not arrive in time.",
    409: "The served version does not support this request.",
    413: "The body is too large.",
    415: "The content type is not JSON.",
    422: "The request is invalid.",
    429: "The address sends too many requests. Retry-After gives the seconds to wait.",
    503: "No model is loaded yet, or the process is busy.",
}


def body(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the OpenAPI of a required JSON body."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema.schema_of(kind)}}}
    }


def replies(kind: type[BaseModel] | None, *statuses: int, done: int = 200) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI of a JSON response of this kind, or of text for None, and of the error responses."""
    content: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if kind is not None:
        content = {"application/json": {"schema": schema.schema_of(kind)}}
    problem = {MEDIA_TYPE: {"schema": schema.schema_of(schema.ProblemDetails)}}
    # The admission gate can respond with these to every request.
    errors = sorted({*statuses, 401, 429, 503})
    return {
        done: {"description": "Done.", "content": content},
        **{status: {"description": _DESCRIPTIONS[status], "content": problem} for status in errors},
    }


def describe(app: FastAPI, *, needs_token: bool) -> None:
    """Add all schemas and, if needed, the bearer token to the application's OpenAPI document."""
    kinds = [
        each
        for each in vars(schema).values()
        if isinstance(each, type) and issubclass(each, BaseModel) and each.__module__ == schema.__name__
        if not each.__name__.startswith("_")
    ]

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            content = get_openapi(
                title=app.title, version=app.version, summary=app.summary, routes=app.routes
            )
            _, definitions = models_json_schema(
                [(each, "validation") for each in kinds], ref_template="#/components/schemas/{model}"
            )
            components = content.setdefault("components", {})
            components["schemas"] = definitions["$defs"]
            if needs_token:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for path, methods in content["paths"].items():
                    if path.startswith(("/v1/", "/metrics")):
                        for operation in methods.values():
                            operation["security"] = [{"token": []}]
            app.openapi_schema = content
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
