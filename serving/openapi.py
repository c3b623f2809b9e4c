"""The OpenAPI document: bodies and replies that the endpoints read and write past FastAPI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving import schema
from serving.problems import MEDIA_TYPE

_WHY = {
    400: "The body is not JSON.",
    401: "The token is missing or wrong.",
    404: "There is no such item or feature.",
    408: "The body took too long.",
    409: "The version that answers is not of the kind that can.",
    413: "The body is too large.",
    415: "The body is not said to be JSON.",
    422: "The request is not of the form it must have.",
    429: "The address asks too often; Retry-After says when to come back.",
    503: "No model is loaded yet, or the process has too much to do.",
}


def body(kind: type[BaseModel]) -> dict[str, Any]:
    """A required JSON body."""
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema.schema_of(kind)}}}
    }


def replies(kind: type[BaseModel] | None, *statuses: int, done: int = 200) -> dict[int | str, dict[str, Any]]:
    """A reply of this form or, for None, of text; and problems."""
    form: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
    if kind is not None:
        form = {"application/json": {"schema": schema.schema_of(kind)}}
    problem = {MEDIA_TYPE: {"schema": schema.schema_of(schema.ProblemDetails)}}
    # The gate may answer with these anywhere.
    every = sorted({*statuses, 401, 429, 503})
    return {
        done: {"description": "Done.", "content": form},
        **{status: {"description": _WHY[status], "content": problem} for status in every},
    }


def described(app: FastAPI, *, asks_for_token: bool) -> None:
    """The application's document has all schemas and, where a token is asked for, says so."""
    kinds = [
        each
        for each in vars(schema).values()
        if isinstance(each, type) and issubclass(each, BaseModel) and each.__module__ == schema.__name__
        if not each.__name__.startswith("_")
    ]

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, summary=app.summary, routes=app.routes)
            _, definitions = models_json_schema(
                [(each, "validation") for each in kinds], ref_template="#/components/schemas/{model}"
            )
            components = made.setdefault("components", {})
            components["schemas"] = definitions["$defs"]
            if asks_for_token:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for path, methods in made["paths"].items():
                    if path.startswith(("/v1/", "/metrics")):
                        for operation in methods.values():
                            operation["security"] = [{"token": []}]
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
