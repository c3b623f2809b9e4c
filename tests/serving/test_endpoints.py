"""What a serving process answers over HTTP."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from html import unescape

import numpy as np
import pytest

from models.recommenders.scoring.recommender import Recommender
from serving.schema import PrivacyFacts
from tasks.bundles.bundle import write_bundle
from tasks.bundles.pointer import Pointer, Target, write_pointer
from tests.worlds.records import PROMISED
from tests.worlds.served import ITEMS, factors, facts, ids, labels, put_bundle, serving, titles

MODEL = {"version": 1, "round": 10, "sha256": f"{1:064x}"}


@pytest.fixture(scope="module")
def model() -> Recommender:
    """Return what the server under test serves, computed in this process."""
    return Recommender(factors(1), ids(), titles())


def test_an_answer_is_the_model_s(server, model):
    answer = server.recommend(history=[{"item_id": "i3"}, {"item_id": "i9", "weight": 2.5}], k=7)

    expected = model.recommend([3, 9], 7, weights=[1.0, 2.5], reasons=3)
    assert answer["model"] == MODEL
    found = answer["recommendations"]
    assert [(one["item_id"], one["title"]) for one in found] == [(e.item_id, e.title) for e in expected]
    assert [one["score"] for one in found] == pytest.approx([e.score for e in expected])
    for one, wanted in zip(found, expected, strict=True):
        assert sum(reason["share"] for reason in one["reasons"]) == pytest.approx(1.0)
        assert [r["item_id"] for r in one["reasons"]] == [
            None if reason.row is None else f"i{reason.row}" for reason in wanted.because
        ]


def test_weights_of_an_item_named_twice_add_up(server):
    twice = server.recommend(history=[{"item_id": "i3", "weight": 1.5}, {"item_id": "i3", "weight": 0.5}])

    assert twice == server.recommend(history=[{"item_id": "i3", "weight": 2.0}])


def test_an_empty_history_gets_popular_items(server, model):
    answer = server.recommend(k=5)

    assert [one["item_id"] for one in answer["recommendations"]] == [
        one.item_id for one in model.recommend([], 5)
    ]
    assert all(one["reasons"] == [] for one in answer["recommendations"])


def test_excluded_items_and_items_of_other_features_are_not_recommended(server):
    answer = server.recommend(
        history=[{"item_id": "i3"}], k=100, exclude=["i9", "i15"], features=["rest:third"]
    )

    wanted = {f"i{row}" for row in range(0, ITEMS, 3)} - {"i3", "i9", "i15"}
    assert {one["item_id"] for one in answer["recommendations"]} == wanted


def test_a_diverse_answer_begins_with_the_same_item_and_differs_below(server):
    history = [{"item_id": "i3"}]
    plain = server.recommend(history=history, k=10)["recommendations"]
    diverse = server.recommend(history=history, k=10, diversity=0.9)["recommendations"]

    assert plain[0]["item_id"] == diverse[0]["item_id"]
    assert {one["item_id"] for one in plain} != {one["item_id"] for one in diverse}


def test_a_batch_has_the_answers_of_its_requests(server):
    questions = [{"history": [{"item_id": f"i{row}"}], "k": 3} for row in range(4)]
    status, batch, _ = server.ask("POST", "/v1/recommendations/batch", {"requests": questions})

    assert (status, batch["model"]) == (200, MODEL)
    alone = [server.recommend(**question)["recommendations"] for question in questions]
    assert [one["recommendations"] for one in batch["answers"]] == alone


def test_items_that_the_version_does_not_know_are_left_out_and_listed(server):
    answer = server.recommend(
        history=[
            {"item_id": "gone"},
            {"item_id": "i3"},
            {"item_id": "new"},
            {"item_id": "gone", "weight": 9},
        ],
        exclude=["i9", "never"],
        k=5,
    )

    expected = server.recommend(history=[{"item_id": "i3"}], exclude=["i9"], k=5)
    assert answer["unknown"] == ["gone", "new"]
    assert expected["unknown"] == []
    assert answer["recommendations"] == expected["recommendations"]


def test_a_history_of_unknown_items_gets_popular_items(server):
    answer = server.recommend(history=[{"item_id": "gone"}], k=5)

    assert answer["unknown"] == ["gone"]
    assert answer["recommendations"] == server.recommend(k=5)["recommendations"]


def test_unknown_items_of_one_question_change_no_other_of_its_batch(server):
    known, gone = {"history": [{"item_id": "i3"}], "k": 3}, {"history": [{"item_id": "gone"}], "k": 3}
    status, batch, _ = server.ask("POST", "/v1/recommendations/batch", {"requests": [known, gone, known]})

    assert status == 200
    assert [one["unknown"] for one in batch["answers"]] == [[], ["gone"], []]
    wanted = [server.recommend(**each)["recommendations"] for each in (known, gone, known)]
    assert [one["recommendations"] for one in batch["answers"]] == wanted


def test_similar_items_are_the_model_s(server, model):
    answer = server.get("/v1/items/i7/similar?k=4")

    assert answer["model"] == MODEL
    assert [one["item_id"] for one in answer["items"]] == [one.item_id for one in model.similar(7, 4)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("the+film+012", ["i12"]),
        ("film+012", ["i12"]),
        ("FILM%20012,%20the", ["i12"]),
        ("i31", ["i31"]),
        ("nothing+like+it", []),
        ("(1959)", ["i59"]),
    ],
)
def test_items_are_found_by_title_and_id(server, query, expected):
    assert [one["item_id"] for one in server.get(f"/v1/items?query={query}")["items"]] == expected


def test_found_items_come_with_their_features(server):
    found = server.get("/v1/items?query=film+009")["items"]

    assert found == [
        {"item_id": "i9", "title": "Film 009, The (1909)", "features": ["parity:odd", "rest:third"]}
    ]


def test_many_matches_are_sorted_by_popularity_and_cut_at_the_limit(server, model):
    found = server.get("/v1/items?query=film&limit=5")["items"]

    order = np.argsort(-model.scores([]), kind="stable")[:5]
    assert [one["item_id"] for one in found] == [f"i{row}" for row in order]


def test_the_model_endpoint_names_the_version(server):
    found = server.get("/v1/model")

    assert {name: found[name] for name in MODEL} == MODEL
    assert (found["model_name"], found["items"], found["dims"]) == ("movies", ITEMS, 8)
    assert found["challenger"] is None
    assert found["privacy"] is None


def test_the_model_endpoint_tells_what_the_model_promises_its_users(tmp_path):
    promised = replace(PROMISED, noise_by="clients under secure sums")
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path, privacy=asdict(promised))))
    with serving(tmp_path, tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        found = server.get("/v1/model")
    assert found["privacy"] == asdict(promised)
    assert set(PrivacyFacts.model_fields) == set(found["privacy"])


def test_replies_carry_protective_headers(server):
    for path in ("/v1/model", "/nowhere", "/healthz"):
        headers = server.ask("GET", path)[2].headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers


def test_other_origins_are_allowed_nothing(server):
    headers = {"origin": "https://elsewhere.example", "access-control-request-method": "POST"}
    status, _, response = server.ask("OPTIONS", "/v1/recommendations", headers=headers)

    assert status == 405
    assert not [name for name in response.headers if name.lower().startswith("access-control")]


def test_the_page_of_endpoints_has_each_of_them_and_loads_nothing_from_elsewhere(server):
    status, page, response = server.ask("GET", "/docs")
    document = server.get("/openapi.json")

    assert (status, response.getheader("content-type")) == (200, "text/html; charset=utf-8")
    text = unescape(page)
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert f"{method.upper()} {path}" in text
            assert operation["description"] in text
    for name, schema in document["components"]["schemas"].items():
        assert f'id="{name}"' in page
        for key, value in schema.get("properties", {}).items():
            assert f"<code>{key}</code>" in page
            assert value.get("description", "") in text
    # Every link leads into the page or to a file of this service.
    links = re.findall(r'(?:href|src)="([^"]*)"', page)
    for link in links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page
        else:
            assert server.ask("GET", link)[0] == 200
    assert "<script" not in page
    assert "style=" not in page


def test_requests_are_counted(server):
    name = 'fedrec_serving_requests_total{endpoint="/v1/items/{item_id}/similar",status="404"}'
    before = server.metric(name)
    server.ask("GET", "/v1/items/zzz/similar")

    assert server.metric(name) == before + 1
    assert server.metric("fedrec_serving_model_version") == 1


def test_logs_are_json_and_hold_nothing_of_a_history(server):
    server.recommend(history=[{"item_id": "i41"}], k=9)
    server.ask("POST", "/v1/recommendations", {"history": [{"item_id": "my-secret"}]})
    server.ask("GET", "/v1/items/my-secret/similar")
    server.ask("GET", "/v1/items?query=my-secret")

    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    last = next(line for line in reversed(lines) if line.get("status") == 200 and line["method"] == "POST")
    assert (last["endpoint"], last["version"]) == ("/v1/recommendations", 1)
    assert "secret" not in server.log.read_text()
    assert "i41" not in server.log.read_text()


def test_without_a_model_a_process_is_alive_but_not_ready(tmp_path):
    with serving(tmp_path, tmp_path / "log") as empty:
        for method, path, body in [
            ("GET", "/readyz", None),
            ("GET", "/v1/model", None),
            ("POST", "/v1/recommendations", {}),
        ]:
            status, content, response = empty.ask(method, path, body)
            assert status == 503
            assert "fedrec promote" in content["detail"]
            assert response.headers["retry-after"]


def test_the_serving_process_imports_no_heavy_library(tmp_path):
    import subprocess
    import sys

    code = (
        "import sys, serving.app; "
        "print({'mlflow','prefect','pandas','scipy','great_expectations','lightfm'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"


def test_an_id_may_hold_a_slash(tmp_path):
    names = [f"shop/{row}" for row in range(ITEMS)]
    digest = write_bundle(tmp_path / "1-x", facts(), factors(), names, titles(), labels())
    write_pointer(tmp_path, Pointer(Target("1-x", digest, {})))
    with serving(tmp_path, tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        found = server.get("/v1/items/shop%2F7/similar?k=2")["items"]
        assert all(one["item_id"].startswith("shop/") for one in found)
        assert server.ask("GET", "/v1/items/shop%2F99/similar")[0] == 404
