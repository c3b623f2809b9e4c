"""The page at /docs: the OpenAPI document as plain HTML, which loads nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

_LIMITS = {
    "minimum": "at least {}",
    "exclusiveMinimum": "more than {}",
    "maximum": "at most {}",
    "exclusiveMaximum": "less than {}",
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
}
_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} – endpoints</title>
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
</head>
<body class="reference">
<header>
<h1>Endpoints</h1>
<p>{summary} For programs: the <a href="/openapi.json">OpenAPI document</a>.</p>
</header>
<main>
"""


def reference_page(document: Mapping[str, Any]) -> str:
    """Return the page for an OpenAPI document."""
    info = document["info"]
    head = _HEAD.format(title=escape(info["title"]), summary=escape(info.get("summary", "")))
    endpoints = [
        _endpoint(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    schemas = [_schema(name, schema) for name, schema in document["components"]["schemas"].items()]
    return "\n".join(
        [
            head,
            *endpoints,
            "<section>",
            "<h2>Schemas</h2>",
            *schemas,
            "</section>",
            "</main>",
            "</body>",
            "</html>",
        ]
    )


def _endpoint(method: str, path: str, operation: Mapping[str, Any]) -> str:
    sent = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    parameters = [
        (
            f"<code>{escape(each['name'])}</code>",
            f"{each['in']}{', required' if each.get('required') else ''}",
            _type(each["schema"]),
        )
        for each in operation.get("parameters", ())
    ]
    replies = [
        (status, escape(reply["description"]), ", ".join(_content(reply)))
        for status, reply in operation["responses"].items()
    ]
    return "\n".join(
        [
            "<section>",
            f"<h2><code>{method.upper()} {escape(path)}</code></h2>",
            f"<p>{escape(operation.get('description') or operation['summary'])}</p>",
            *([f"<p>Body: {_type(sent)}</p>"] if sent else []),
            *([_table(("Parameter", "In", "Type"), parameters)] if parameters else []),
            _table(("Status", "Meaning", "Reply"), replies),
            "</section>",
        ]
    )


def _content(reply: Mapping[str, Any]) -> Iterator[str]:
    for media_type, each in reply.get("content", {}).items():
        yield f"{_type(each['schema'])} ({escape(media_type)})"


def _schema(name: str, schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(each)}</code>{' (required)' if each in required else ''}",
            _type(value),
            escape(value.get("description", "")),
        )
        for each, value in schema.get("properties", {}).items()
    ]
    examples = [
        f"<pre>{escape(json.dumps(each, indent=2, ensure_ascii=False))}</pre>"
        for each in schema.get("examples", ())
    ]
    return "\n".join(
        [
            f'<h3 id="{escape(name)}">{escape(name)}</h3>',
            f"<p>{escape(schema.get('description', ''))}</p>",
            _table(("Key", "Type", "Meaning"), rows),
            *examples,
        ]
    )


def _type(schema: Mapping[str, Any]) -> str:
    """Return a schema's type in words, with links to the schemas that it refers to."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    words = [
        f"list of {_type(schema['items'])}" if "items" in schema else escape(str(schema.get("type", "any")))
    ]
    words += [text.format(escape(str(schema[key]))) for key, text in _LIMITS.items() if key in schema]
    if "default" in schema:
        words.append(f"default <code>{escape(json.dumps(schema['default']))}</code>")
    return ", ".join(words)


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "\n".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table>"
