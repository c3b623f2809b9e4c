"""The OpenAPI document is complete: schemathesis searches for a request that contradicts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("seed", [1, 2])
def test_schemathesis_finds_nothing(server, tmp_path, seed):
    command = [str(Path(sys.executable).parent / "schemathesis"), "run"]
    command += [f"http://127.0.0.1:{server.port}/openapi.json", "--checks", "all", "--seed", str(seed)]
    command += ["--max-examples", "30", "--no-color"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)

    assert found.returncode == 0, found.stdout
    assert "No issues found" in found.stdout


def test_the_document_has_examples_and_every_problem(server):
    document = server.get("/openapi.json")

    assert set(document["paths"]) >= {
        "/v1/recommendations",
        "/v1/recommendations/batch",
        "/v1/items",
        "/v1/items/{item_id}/similar",
        "/v1/model",
        "/healthz",
        "/readyz",
        "/metrics",
    }
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["description"], path
            problems = {status for status in operation["responses"] if status >= "400"}
            assert {"429", "503"} <= problems
            for status in problems:
                assert list(operation["responses"][status]["content"]) == ["application/problem+json"]
    schemas = document["components"]["schemas"]
    for name in ("RecommendationQuery", "RecommendationQueries", "RecommendedItem", "ProblemDetails"):
        assert schemas[name]["examples"]
