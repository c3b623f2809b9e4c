"""What a serving process refuses: with a clear status and problem+json, and never with a 500."""

from __future__ import annotations

import http.client
import json
import socket
import time

import pytest

from serving.gate import Rate
from serving.schema import MAX_BATCH, MAX_EXCLUDED, MAX_HISTORY, MAX_K
from tasks.bundles.pointer import Pointer, write_pointer
from tests.worlds.served import put_bundle, serving

ASK = ("POST", "/v1/recommendations")


def problem(found, status, kind):
    """Return the problem of a reply that must be one."""
    got, content, response = found
    assert got == status, content
    assert response.getheader("content-type") == "application/problem+json"
    assert content["type"] == f"urn:fedrec:problem:{kind}"
    assert content["status"] == status
    return content


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1,", b"\xff\xfe", b'{"k": 1} trailing', b'{"k": "\\ud800"}', b"[" * 100_000],
    ids=["empty", "open", "cut", "no-utf8", "trailing", "surrogate", "deep"],
)
def test_a_body_that_is_not_json_is_a_bad_request(server, body):
    problem(server.ask(*ASK, body), 400, "bad-json")


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b"[]", "body"),
        (b"null", "body"),
        (b'{"k": -1}', "k"),
        (b'{"k": 0}', "k"),
        (b'{"k": 1.5}', "k"),
        (b'{"k": true}', "k"),
        (b'{"k": "3"}', "k"),
        (b'{"k": 1e400}', "k"),
        (b'{"k": NaN}', "k"),
        (b'{"k": 123456789012345678901234567890}', "k"),
        (json.dumps({"k": MAX_K + 1}).encode(), "k"),
        (b'{"diversity": NaN}', "diversity"),
        (b'{"diversity": 1.01}', "diversity"),
        (b'{"history": [{"item_id": "i1", "weight": NaN}]}', "history.0.weight"),
        (b'{"history": [{"item_id": "i1", "weight": Infinity}]}', "history.0.weight"),
        (b'{"history": [{"item_id": "i1", "weight": 0}]}', "history.0.weight"),
        (b'{"history": [{"item_id": "i1", "weight": -2}]}', "history.0.weight"),
        (b'{"history": [{"item_id": 1}]}', "history.0.item_id"),
        (b'{"history": ["i1"]}', "history.0"),
        (b'{"history": [{"item_id": "i1"}, {"weight": 1}]}', "history.1.item_id"),
        (b'{"history": null}', "history"),
        (json.dumps({"history": [{"item_id": "i1"}] * (MAX_HISTORY + 1)}).encode(), "history"),
        (json.dumps({"exclude": ["i1"] * (MAX_EXCLUDED + 1)}).encode(), "exclude"),
        (b'{"histroy": []}', "histroy"),
    ],
)
def test_json_of_another_form_is_named(server, body, where):
    found = problem(server.ask(*ASK, body), 422, "invalid-request")

    assert where in [error["where"] for error in found["errors"]]
    assert where in found["detail"]


def test_every_request_of_a_batch_is_checked(server):
    body = {"requests": [{"k": 1}, {"k": -1}]}
    found = problem(server.ask("POST", "/v1/recommendations/batch", body), 422, "invalid-request")
    assert [error["where"] for error in found["errors"]] == ["requests.1.k"]

    too_many = {"requests": [{}] * (MAX_BATCH + 1)}
    problem(server.ask("POST", "/v1/recommendations/batch", too_many), 422, "invalid-request")
    problem(server.ask("POST", "/v1/recommendations/batch", {"requests": []}), 422, "invalid-request")


def answered(found):
    """Return the content of a reply that must be an answer."""
    status, content, _ = found
    assert status == 200, content
    return content


@pytest.mark.parametrize("history", [[], [{"item_id": "i1"}], [{"item_id": "gone"}]])
def test_an_unknown_feature_is_left_out_and_listed(server, history):
    question = {"history": history, "features": ["parity:even"]}
    known = answered(server.ask(*ASK, question))
    unknown = [each["item_id"] for each in history if each["item_id"] == "gone"]
    assert known["recommendations"]
    assert known["unknown"] == unknown

    for odd in ("parity:nope", "nope:even", "parity", ":", "parity:", "PARITY:even", "x" * 500, "é:☃"):
        content = answered(server.ask(*ASK, question | {"features": [odd, "parity:even", odd]}))
        assert content["recommendations"] == known["recommendations"]
        assert content["unknown"] == [*unknown, odd]


@pytest.mark.parametrize("diversity", [0.0, 0.5])
def test_no_item_has_an_unknown_feature(server, diversity):
    question = {"history": [{"item_id": "i1"}], "features": ["parity:nope", "no"], "diversity": diversity}
    content = answered(server.ask(*ASK, question))

    assert (content["recommendations"], content["unknown"]) == ([], ["parity:nope", "no"])


def test_an_unknown_feature_in_a_batch_concerns_its_question_only(server):
    questions = [{"k": 1}, {"features": ["parity:even"]}, {"features": ["parity:nope", "parity:odd"], "k": 2}]
    body = {"requests": questions}
    answers = answered(server.ask("POST", "/v1/recommendations/batch", body))["answers"]

    assert [each["unknown"] for each in answers] == [[], [], ["parity:nope"]]
    alone = answered(server.ask(*ASK, {"features": ["parity:odd"], "k": 2}))
    assert answers[2]["recommendations"] == alone["recommendations"]


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/v1/items/nope/similar", 404, "unknown-item"),
        ("/v1/items/i1/similar?k=-1", 422, "invalid-request"),
        ("/v1/items/i1/similar?k=two", 422, "invalid-request"),
        ("/v1/items?limit=0", 422, "invalid-request"),
        ("/v1/items?query=" + "x" * 201, 422, "invalid-request"),
        ("/nowhere", 404, "http"),
        ("/v1/recommendations", 405, "http"),
    ],
)
def test_paths_and_queries_are_checked(server, path, status, kind):
    problem(server.ask("GET", path), status, kind)


def test_a_body_of_another_media_type_is_not_read(server):
    found = server.ask(*ASK, b"k=1", {"content-type": "application/x-www-form-urlencoded"})

    problem(found, 415, "not-json")


def test_a_huge_body_is_refused_by_its_announced_length(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    # Only the head is sent: the refusal must not wait for the body.
    connection.putrequest(*ASK)
    connection.putheader("content-type", "application/json")
    connection.putheader("content-length", str(10**12))
    connection.endheaders()
    response = connection.getresponse()
    content = json.loads(response.read())
    connection.close()
    assert (response.status, content["type"]) == (413, "urn:fedrec:problem:too-large")


def test_a_huge_body_without_a_length_is_refused_where_it_grows_too_large(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    piece = b" " * 100_000
    try:
        connection.request(
            *ASK, iter([piece] * 30), {"content-type": "application/json"}, encode_chunked=True
        )
        status = connection.getresponse().status
    except (BrokenPipeError, ConnectionResetError):
        status = 413  # the server closed before all was sent
    finally:
        connection.close()
    assert status == 413
    assert server.get("/readyz") == {"status": "ready"}


def test_a_slow_body_is_not_waited_for(tmp_path):
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path)))
    with (
        serving(tmp_path, tmp_path / "log", body_timeout=0.3) as server,
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as client,
    ):
        client.sendall(
            b"POST /v1/recommendations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b'Content-Length: 20\r\n\r\n{"k"'
        )
        begun = time.monotonic()
        assert client.recv(4096).startswith(b"HTTP/1.1 408 ")
        assert time.monotonic() - begun < 10


def test_a_token_is_required_if_one_is_set(tmp_path):
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path)))
    with serving(tmp_path, tmp_path / "log", **{"token": "open-sesame"}) as server:
        for shown in (None, "Bearer wrong", "open-sesame", "bearer open-sesame2"):
            headers = {"authorization": shown} if shown else {}
            found = server.ask(*ASK, {}, headers)
            problem(found, 401, "unauthorised")
            assert found[2].getheader("www-authenticate") == "Bearer"
        assert server.ask("GET", "/metrics")[0] == 401
        assert server.ask("GET", "/healthz")[0] == 200
        assert server.ask(*ASK, {}, {"authorization": "Bearer open-sesame"})[0] == 200
        document = server.get("/openapi.json")
        assert document["paths"]["/v1/model"]["get"]["security"] == [{"token": []}]
        assert "open-sesame" not in server.log.read_text()


def test_a_client_over_its_rate_learns_when_to_try_again(tmp_path):
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path)))
    with serving(tmp_path, tmp_path / "log", rate=0.001, burst=5) as server:
        answers = [server.ask(*ASK, {}) for _ in range(6)]
        assert [status for status, _, _ in answers[:5]] == [200] * 5
        problem(answers[5], 429, "too-many-requests")
        assert int(answers[5][2].getheader("retry-after")) > 60
        assert server.ask("GET", "/readyz")[0] == 200


def test_a_bucket_fills_at_its_rate_for_each_address():
    rate = Rate(rate=2.0, burst=3.0)

    assert [rate.wait("a", 0.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]
    assert rate.wait("b", 0.0) == 0.0
    assert rate.wait("a", 0.4) == pytest.approx(0.1)
    assert rate.wait("a", 0.5) == 0.0
    # However long it waits, it holds at most the burst.
    assert [rate.wait("a", 1000.0) for _ in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_addresses_without_recent_requests_are_forgotten():
    rate = Rate(rate=1.0, burst=1.0)
    for number in range(10_001):
        rate.wait(f"a{number}", 0.0)

    assert rate.wait("a10000", 0.0) > 0.0
    assert rate.wait("a0", 0.0) == 0.0
