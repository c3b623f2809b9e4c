"""Who may do what at the gateway: every route with every fault of a signature changes nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tasks.gateway.api.app import make_app
from tasks.gateway.database import open_database
from tasks.gateway.invitations import Invitations
from tasks.gateway.settings import GatewaySettings
from tasks.gateway.visits import Visits
from tasks.silos.http_signatures import Answer, Request, digest_header, verify_answer
from tasks.silos.keys import SiloKey, key_id, public_pem
from tests.tasks.gateway.conftest import JOB, ROUND, Door, sha256_of
from tests.waiting import until

UPDATE = b"an update"
STRANGER = SiloKey(Ed25519PrivateKey.generate(), file=None)  # type: ignore[arg-type]
# Everyone may read these.
UNSIGNED = {"/healthz", "/v1/key", "/docs", "/redoc", "/openapi.json", "/docs/oauth2-redirect"}


def enrolment(door: Door, key: SiloKey) -> bytes:
    body = {"silo": "ash", "public_key": public_pem(key.public).decode(), "token": "none"}
    return json.dumps(body).encode()


# Route -> (method, its target for ash's order, its body).
ROUTES: dict[str, Callable[[Door], tuple[str, str, bytes]]] = {
    "/v1/facts": lambda _: ("GET", "/v1/facts", b""),
    "/v1/roster": lambda _: ("GET", "/v1/roster", b""),
    "/v1/promoted": lambda _: ("GET", "/v1/promoted", b""),
    "/v1/promoted/{sha256}": lambda door: ("GET", f"/v1/promoted/{door.promote().manifest_sha256}", b""),
    "/v1/orders": lambda _: ("GET", "/v1/orders?wait=0", b""),
    "/v1/objects/{sha256}": lambda door: ("GET", f"/v1/objects/{door.base['ash'].sha256}", b""),
    "/v1/orders/{order_id}/updates/{sha256}": lambda door: (
        "PUT",
        f"/v1/orders/{door.ids['ash']}/updates/{sha256_of(UPDATE)}",
        UPDATE,
    ),
    "/v1/orders/{order_id}/answer": lambda door: (
        "PUT",
        f"/v1/orders/{door.ids['ash']}/answer",
        door.answer("ash"),
    ),
    "/v1/orders/{order_id}/failure": lambda door: (
        "PUT",
        f"/v1/orders/{door.ids['ash']}/failure",
        b'{"error":"NoDisk"}',
    ),
    "/v1/enrolments": lambda door: ("POST", "/v1/enrolments", enrolment(door, door.keys["ash"])),
}
# Routes that name an order or an object, which another silo must not find.
OWN = [route for route in ROUTES if "{" in route]


def without_signature(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    return httpx.Request(method, door.server.url + target, content=body)


def of_nobody(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    return door.signed(method, target, body, STRANGER)


def expired(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    return door.signed(method, target, body, created=datetime.now(UTC) - timedelta(seconds=310))


def clock_ahead(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    return door.signed(method, target, body, created=datetime.now(UTC) + timedelta(minutes=10))


def clock_behind(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    return door.signed(method, target, body, created=datetime.now(UTC) - timedelta(minutes=10))


def body_changed(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    right = door.signed(method, target, body)
    return httpx.Request(method, right.url, headers=_signature(right), content=body + b" ")


def path_changed(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    right = door.signed(method, target.replace("/v1/", "/v1//"), body)
    return httpx.Request(method, door.server.url + target, headers=_signature(right), content=body)


def query_changed(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    right = door.signed(method, target, body)
    return httpx.Request(
        method, f"{right.url}{'&' if '?' in target else '?'}x=1", headers=_signature(right), content=body
    )


def method_changed(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    right = door.signed("DELETE", target, body)
    return httpx.Request(method, right.url, headers=_signature(right), content=body)


def for_another_coordinator(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    return door.signed(method, target, body, coordinator="0" * 16)


def signed_twice(door: Door, method: str, target: str, body: bytes) -> httpx.Request:
    one, other = (door.signed(method, target, body) for _ in range(2))
    headers = _signature(one)
    headers["signature"] += "," + other.headers["signature"].replace("fedrec=", "more=")
    headers["signature-input"] += "," + other.headers["signature-input"].replace("fedrec=", "more=")
    return httpx.Request(method, one.url, headers=headers, content=body)


def _signature(request: httpx.Request) -> dict[str, str]:
    names = ("signature", "signature-input", "content-digest")
    return {name: request.headers[name] for name in names}


FAULTS = [
    without_signature,
    of_nobody,
    expired,
    clock_ahead,
    clock_behind,
    body_changed,
    path_changed,
    query_changed,
    method_changed,
    for_another_coordinator,
    signed_twice,
]


def test_the_table_has_every_route(door: Door) -> None:
    app = make_app(GatewaySettings(str(door.home.root), door.exchange.url))
    paths = {route.path for route in app.routes}  # type: ignore[attr-defined]
    assert paths - UNSIGNED == set(ROUTES)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.__name__)
@pytest.mark.parametrize("route", ROUTES)
def test_a_faulty_signature_changes_nothing(
    door: Door, route: str, fault: Callable[..., httpx.Request]
) -> None:
    before = door.facts()
    answer = door.send(fault(door, *ROUTES[route](door)))
    assert answer.status_code in (401, 403), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
    assert door.facts() == before


@pytest.mark.parametrize("route", [each for each in ROUTES if each != "/v1/enrolments"])
def test_a_revoked_key_is_refused_at_once(door: Door, route: str) -> None:
    request = door.signed(*ROUTES[route](door))
    door.trust.remove("ash")
    before = door.facts()
    answer = door.send(request)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:fedrec:problem:revoked")
    assert "enrol" in answer.json()["detail"]
    assert door.facts() == before


def test_a_replaced_key_is_revoked(door: Door) -> None:
    request = door.signed("GET", "/v1/facts")
    door.trust.trust("ash", Ed25519PrivateKey.generate().public_key(), force=True)
    assert door.send(request).status_code == 403


@pytest.mark.parametrize("route", [each for each in ROUTES if each != "/v1/enrolments"])
def test_a_request_counts_once(door: Door, route: str) -> None:
    request = door.signed(*ROUTES[route](door))
    assert door.send(request).status_code < 300
    before = door.facts()
    again = door.send(request)
    assert (again.status_code, again.json()["type"]) == (409, "urn:fedrec:problem:replayed")
    assert door.facts() == before


@pytest.mark.parametrize("route", OWN)
def test_another_silos_orders_and_objects_do_not_exist(door: Door, route: str) -> None:
    method, target, body = ROUTES[route](door)
    before = door.facts()
    answer = door.send(door.signed(method, target, body, door.keys["birch"]))
    nothing = door.send(
        door.signed(method, target.replace(door.ids["ash"], "none"), body, door.keys["birch"])
    )
    assert answer.status_code == nothing.status_code == 404
    assert answer.json() == nothing.json()
    assert door.facts() == before


@pytest.mark.parametrize("order_id", ["%00", "x" * 5000, "%E2%82%AC", "%27"])
def test_an_order_with_an_odd_name_does_not_exist(door: Door, order_id: str) -> None:
    answer = door.send(door.signed("PUT", f"/v1/orders/{order_id}/failure", b'{"error": "X"}'))
    assert (answer.status_code, answer.json()["type"]) == (404, "urn:fedrec:problem:not-found")


def test_a_silo_gets_its_own_order_alone(door: Door) -> None:
    found = {silo: door.client(silo).next_order() for silo in ("ash", "birch")}
    assert {silo: each.id for silo, each in found.items() if each} == door.ids
    assert all(each and each.step_order.order.client_id == silo for silo, each in found.items())


def test_an_answer_signed_by_another_silo_is_none(door: Door) -> None:
    before = door.facts()
    answer = door.send(door.signed("PUT", f"/v1/orders/{door.ids['ash']}/answer", door.answer("birch")))
    assert (answer.status_code, answer.json()["type"]) == (422, "urn:fedrec:problem:no-answer")
    assert door.facts() == before


def test_the_first_answer_counts(door: Door) -> None:
    first, second = door.answer("ash", {"a": 1}), door.answer("ash", {"a": 2})
    target = f"/v1/orders/{door.ids['ash']}/answer"
    assert door.send(door.signed("PUT", target, first)).status_code == 201
    # Its answer may have been lost.
    assert door.send(door.signed("PUT", target, first)).status_code == 201
    before = door.facts()
    answer = door.send(door.signed("PUT", target, second))
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:fedrec:problem:ended")
    assert door.facts() == before
    assert door.book.states([door.ids["ash"]])[door.ids["ash"]] == ("answered", sha256_of(first))


def test_what_was_sent_for_an_answered_order_may_be_sent_again(door: Door) -> None:
    order, answer = door.ids["ash"], door.answer("ash")
    for _ in range(2):  # the silo may not have got the answers
        door.client("ash").send_update(order, UPDATE)
        door.client("ash").send_answer(order, answer)
    before = door.facts()
    target = f"/v1/orders/{order}/updates/{sha256_of(b'another')}"
    refused = door.send(door.signed("PUT", target, b"another"))
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:fedrec:problem:ended")
    assert door.facts() == before


def test_a_withdrawn_order_takes_nothing(door: Door) -> None:
    door.book.withdraw([door.ids["ash"]])
    before = door.facts()
    for route in OWN:
        if "{order_id}" in route:
            answer = door.send(door.signed(*ROUTES[route](door)))
            assert (answer.status_code, answer.json()["type"]) == (409, "urn:fedrec:problem:withdrawn")
    assert door.send(door.signed(*ROUTES["/v1/objects/{sha256}"](door))).status_code == 404
    assert door.facts() == before


def test_an_update_goes_to_the_silos_own_folder(door: Door) -> None:
    door.client("ash").send_update(door.ids["ash"], UPDATE)
    path = door.home.exchange / f"silos/ash/{JOB}/updates/{ROUND:06d}/{sha256_of(UPDATE)}.safetensors"
    assert path.read_bytes() == UPDATE


def test_a_stranger_s_enrolment_writes_nothing(door: Door) -> None:
    door.client("ash").facts()
    before = Visits(open_database(door.home)).all()
    body = {"silo": "ash", "public_key": public_pem(STRANGER.public).decode(), "token": "none"}
    answer = door.send(door.signed("POST", "/v1/enrolments", json.dumps(body).encode(), STRANGER))
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:fedrec:problem:no-invitation")
    assert Visits(open_database(door.home)).all() == before


def test_the_update_that_the_answer_names_stays_alone(door: Door) -> None:
    for update in (UPDATE, b"another", b"a third"):
        door.client("ash").send_update(door.ids["ash"], update)
    named = {"update": {"sha256": sha256_of(b"another")}}
    door.client("ash").send_answer(door.ids["ash"], door.answer("ash", named))
    folder = door.home.exchange / f"silos/ash/{JOB}/updates/{ROUND:06d}"
    assert [path.stem for path in folder.iterdir()] == [sha256_of(b"another")]


def test_an_answer_needs_the_update_that_it_names(door: Door) -> None:
    answer = door.answer("ash", {"update": {"sha256": sha256_of(UPDATE)}})
    before = door.facts()
    target = f"/v1/orders/{door.ids['ash']}/answer"
    found = door.send(door.signed("PUT", target, answer))
    assert (found.status_code, found.json()["type"]) == (422, "urn:fedrec:problem:no-update")
    assert door.facts() == before
    door.client("ash").send_update(door.ids["ash"], UPDATE)
    assert door.send(door.signed("PUT", target, answer)).status_code == 201


def test_an_order_takes_few_updates(door: Door) -> None:
    for number in range(4):
        door.client("ash").send_update(door.ids["ash"], b"%d" % number)
    fifth = door.signed("PUT", f"/v1/orders/{door.ids['ash']}/updates/{sha256_of(UPDATE)}", UPDATE)
    assert door.send(fifth).status_code == 429


@pytest.mark.parametrize("body", [b"x" * 10, b"y" * 10])
def test_updates_of_one_order_at_once_are_all_there(door: Door, body: bytes) -> None:
    updates = [body + b"%d" % number for number in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda each: door.client("ash").send_update(door.ids["ash"], each), updates))
    folder = door.home.exchange / f"silos/ash/{JOB}/updates/{ROUND:06d}"
    assert {path.stem for path in folder.iterdir()} == {sha256_of(each) for each in updates}


def test_a_silo_whose_key_is_revoked_while_it_waits_gets_no_order(door: Door) -> None:
    door.book.withdraw(list(door.ids.values()))
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(door.send, door.signed("GET", "/v1/orders?wait=20"))
        time.sleep(0.5)
        door.trust.remove("ash")
        door.place()
        answer = waiting.result(30)
    assert (answer.status_code, answer.json()["type"]) == (403, "urn:fedrec:problem:revoked")


def test_a_silo_waits_with_few_requests(door: Door) -> None:
    door.book.withdraw(list(door.ids.values()))
    requests = [door.signed("GET", "/v1/orders?wait=30") for _ in range(6)]
    with ThreadPoolExecutor(6) as pool:
        answers = [pool.submit(door.send, each) for each in requests]
        until(lambda: sum(each.done() for each in answers) == 2, what="two refusals")
        door.place()
        statuses = sorted(each.result(60).status_code for each in answers)
    assert statuses == [200] * 4 + [429] * 2


def test_only_the_first_fetch_of_an_order_is_recorded(door: Door) -> None:
    for _ in range(3):
        assert door.client("ash").next_order() is not None
    fetched = f"fetched order {door.ids['ash']}"
    assert [json.loads(line)["body"]["did"] for line in door.facts()["record"]].count(fetched) == 1


def test_a_missing_object_is_said_without_a_traceback(door: Door) -> None:
    (door.home.exchange / door.base["ash"].path).unlink()
    answer = door.send(door.signed("GET", f"/v1/objects/{door.base['ash'].sha256}"))
    assert (answer.status_code, answer.json()["type"]) == (503, "urn:fedrec:problem:failed")
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("target", ["/v1/facts", "/v1/objects/x", "/v1/orders?wait=x", "/v1/none"])
def test_what_a_silo_is_told_is_signed(door: Door, target: str) -> None:
    request = door.signed("GET", target)
    answer = door.send(request)
    asked = Request("GET", target, dict(request.headers))
    told = Answer(answer.status_code, asked, dict(answer.headers))
    digest = verify_answer(told, door.coordinator.public, door.coordinator.key_id)
    assert digest == digest_header(sha256_of(answer.content))


def enrolled(door: Door, silo: str, token: str, key: SiloKey) -> int:
    """Return the status of an enrolment with this token."""
    body = {"silo": silo, "public_key": public_pem(key.public).decode(), "token": token}
    return door.send(door.signed("POST", "/v1/enrolments", json.dumps(body).encode(), key)).status_code


def new_key() -> SiloKey:
    return SiloKey(Ed25519PrivateKey.generate(), file=None)  # type: ignore[arg-type]


def test_a_later_invitation_ends_the_earlier_ones(door: Door) -> None:
    invitations, until = Invitations(open_database(door.home)), time.time() + 100
    first, second = invitations.make("oak", until), invitations.make("oak", until)
    own = new_key()
    assert enrolled(door, "oak", first, own) == 403
    assert enrolled(door, "oak", second, own) == 204
    assert enrolled(door, "oak", second, own) == 204  # its answer may have been lost
    assert enrolled(door, "oak", second, new_key()) == 403


def test_an_invitation_ends_with_the_removal_of_its_silo(door: Door) -> None:
    invitations, until = Invitations(open_database(door.home)), time.time() + 100
    assert enrolled(door, "elm", invitations.make("elm", until), new_key()) == 204
    left = invitations.make("elm", until)
    time.sleep(0.02)  # a file's time is the one of the clock's last tick
    door.trust.remove("elm")
    assert enrolled(door, "elm", left, new_key()) == 403
    time.sleep(0.02)
    assert enrolled(door, "elm", invitations.make("elm", until), new_key()) == 204


def test_what_a_killed_gateway_left_half_written_is_removed(door: Door) -> None:
    ash = door.home.exchange / f"silos/ash/{JOB}"
    folders = [ash / f"updates/{ROUND:06d}", ash / f"answers/{ROUND:06d}-train"]
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".object.safetensors.part").write_bytes(b"half")
    answer = door.answer("ash", {"update": {"sha256": sha256_of(UPDATE)}})
    door.client("ash").send_update(door.ids["ash"], UPDATE)
    door.client("ash").send_answer(door.ids["ash"], answer)
    left = [[path.name for path in folder.iterdir()] for folder in folders]
    assert left == [[f"{sha256_of(each)}.safetensors"] for each in (UPDATE, answer)]


def test_updates_of_earlier_rounds_are_removed(door: Door) -> None:
    door.client("ash").send_update(door.ids["ash"], UPDATE)
    door.place(ROUND + 1)
    door.client("ash").send_update(door.ids["ash"], b"the next")
    folder = door.home.exchange / f"silos/ash/{JOB}/updates"
    kept = [path.name for path in sorted(folder.rglob("*.safetensors"))]
    assert kept == [f"{sha256_of(b'the next')}.safetensors"]


def test_an_update_under_another_name_is_refused(door: Door) -> None:
    before = door.facts()
    for name in ("0" * 64, "..%2f..%2fx", "x"):
        answer = door.send(door.signed("PUT", f"/v1/orders/{door.ids['ash']}/updates/{name}", UPDATE))
        assert answer.status_code in (401, 404), answer.text
    assert door.facts() == before


def test_what_left_the_gateway_and_what_came_is_recorded(door: Door) -> None:
    client = door.client("ash")
    ordered = client.next_order()
    assert ordered
    assert client.fetch(ordered.objects[0]) == b"model for ash"
    client.send_update(ordered.id, UPDATE)
    answer = door.answer("ash")
    client.send_answer(ordered.id, answer)
    record = [json.loads(line)["body"] for line in door.facts()["record"][-4:]]
    assert [(each["silo"], each["key_id"]) for each in record] == [
        ("ash", key_id(door.keys["ash"].public))
    ] * 4
    assert [each.get("sha256") for each in record] == [
        None,
        door.base["ash"].sha256,
        sha256_of(UPDATE),
        sha256_of(answer),
    ]
