"""What the gateway does with a silo's requests. A silo gets its own orders and what they name."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.metadata import version as version_of
from typing import Annotated

from fastapi import Query
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from models.errors import CorruptArtifact, FedrecError, InvalidInput
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.layout import silo_answers_folder, silo_updates_folder
from tasks.exchange.silo_updates import forget_earlier_updates
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.gateway.access_record import access_record
from tasks.gateway.api import schema
from tasks.gateway.api.admission import Admission, Caller
from tasks.gateway.api.grouped import Grouped
from tasks.gateway.api.notes import Notes
from tasks.gateway.api.order_watch import OrderWatch
from tasks.gateway.api.problems import no_such
from tasks.gateway.api.wire import (
    as_signed,
    disconnected,
    json_response,
    pieces_of,
    read_body,
    require_no_body,
    sha256_of,
)
from tasks.gateway.database import open_database
from tasks.gateway.invitations import Invitations
from tasks.gateway.members import Members
from tasks.gateway.order_book import OrderBook, PlacedOrder
from tasks.gateway.own_key import own_key
from tasks.gateway.published import PublishedFile, PublishedModel, published_model
from tasks.gateway.settings import GatewaySettings
from tasks.gateway.visits import Visits
from tasks.silos.http_signatures import Answer, digest_header, sign_answer
from tasks.silos.http_signatures import Request as SignedRequest
from tasks.silos.keys import key_id, public_pem, read_public
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, open_sealed
from tasks.web import json_log
from tasks.web.problem import Problem

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ORDER_ID = re.compile(r"[0-9a-f-]{36}")
_MAX_FAILURE_BYTES = 1000
# Objects of a silo that are read or sent at once.
_MOST_AT_ONCE = 4
_MAX_ENROLMENT_BYTES = 4000


class Gateway:
    """The endpoints of one process.

    Args:
        settings: of the gateway.
    """

    def __init__(self, settings: GatewaySettings) -> None:
        home = settings.folder
        self._settings = settings
        self._key = own_key(home)
        engine = open_database(home, settings.database)
        self._book, self._members = OrderBook(engine), Members(engine)
        self._invitations = Invitations(engine)
        self._visits = Visits(open_database(home, settings.database, durable=False))
        self._trust = TrustStore(home)
        self._admission = Admission(self._trust, self._visits, self._key.key_id)
        self._exchange = Exchange(settings.exchange)
        self._admit = Grouped(self._admit_all)
        self._note = Notes(self._visits, access_record(home)).add
        self._under_way: Counter[str] = Counter()
        self.public = self._key.public
        self.watch = OrderWatch(self._book, _note_away)

    async def order(self, request: Request, wait: Annotated[float, Query(ge=0, le=3600)] = 0.0) -> Response:
        """Return the silo's next order, or 204 if none comes while the request waits (long-polling)."""
        caller = await self._admitted_without_body(request)
        wait_s = min(wait, self._settings.longest_wait_s)
        placed = await self.watch.next_for(caller.silo, wait_s, lambda: disconnected(request))
        if placed is None:
            return self._signed(request, Response(status_code=204))
        await self._note(caller, f"fetched order {placed.id}", order=placed.id)
        body = schema.OrderBody(id=placed.id, order=dict(placed.body))
        return self._signed(request, json_response(body))

    async def object(self, request: Request, sha256: str) -> Response:
        """Return an object that an open order of this silo names."""
        caller = await self._admitted_without_body(request)

        def read() -> bytes:
            placed = self._book.first_open([caller.silo]).get(caller.silo)
            ref = placed.objects.get(sha256) if placed else None
            if ref is None:
                raise no_such("object")
            return self._exchange.get(ref)

        with self._one_of_few(caller.silo):
            data = await run_in_threadpool(read)
        await self._note(caller, f"fetched object {sha256[:12]}", sha256=sha256, bytes=len(data))
        return self._signed(request, Response(data, media_type="application/octet-stream"), sha256)

    async def update(self, request: Request, order_id: str, sha256: str) -> Response:
        """Keep the update that answers an order, under its SHA-256. The same upload again changes nothing."""
        caller, placed = await self._admitted_for(request, order_id)
        if placed.state not in ("open", "answered"):
            raise _ended(placed)
        if not _SHA256.fullmatch(sha256) or caller.content_digest != digest_header(sha256):
            raise Problem(401, "other-body", "The path names another SHA-256 than the signed Content-Digest.")
        about = placed.context
        folder = silo_updates_folder(about.silo, about.job_id, about.round)
        with self._one_of_few(caller.silo):
            data = await read_body(
                request, caller.content_digest, self._settings.max_object_bytes, self._settings
            )

        def keep() -> ArtifactRef:
            # The order may have ended while the body came.
            now = self._book.find(caller.silo, order_id)
            kept = [each.sha256 for each in self._exchange.listed(folder)]
            # The silo may not have got the answers to its update and its answer.
            if now.state != "open" and not (now.state == "answered" and sha256 in kept):
                raise _ended(now)
            forget_earlier_updates(self._exchange, about.silo, about.job_id, about.round)
            ref = self._exchange.put(folder, data, sha256)
            self._exchange.remove_others(ref)  # one update an order, so that a silo cannot fill the disk
            return ref

        ref = await run_in_threadpool(keep)
        did = f"sent an update for order {order_id}"
        await self._note(caller, did, order=order_id, sha256=sha256, bytes=ref.size)
        return self._signed(request, json_response(schema.Accepted(sha256=ref.sha256, bytes=ref.size), 201))

    async def answer(self, request: Request, order_id: str) -> Response:
        """Keep the silo's signed answer to an order, which ends the order. The first answer counts."""
        caller, placed = await self._admitted_for(request, order_id)
        data = await read_body(request, caller.content_digest, MAX_ANSWER_BYTES, self._settings)
        did = await run_in_threadpool(self._take_answer, caller, placed, data)
        sha256 = sha256_of(data)
        await self._note(caller, did, order=placed.id, sha256=sha256, bytes=len(data))
        return self._signed(request, json_response(schema.Accepted(sha256=sha256, bytes=len(data)), 201))

    async def failure(self, request: Request, order_id: str) -> Response:
        """End an order that the silo cannot do. Only the kind of error leaves the silo."""
        caller, placed = await self._admitted_for(request, order_id)
        data = await read_body(request, caller.content_digest, _MAX_FAILURE_BYTES, self._settings)
        try:
            failure = schema.Failure.model_validate_json(data)
        except ValidationError as error:
            raise Problem(422, "bad-failure", 'The body must be {"error": "NameOfTheError"}.') from error
        ended = await run_in_threadpool(self._book.end, placed.id, "failed", failure.error)
        if not ended and (placed.state, placed.outcome) != ("failed", failure.error):
            raise _ended(placed)
        did = f"could not do order {order_id}: {failure.error}"
        await self._note(caller, did, order=order_id)
        return self._signed(request, Response(status_code=204))

    async def facts(self, request: Request) -> Response:
        """Return what the gateway says of itself and of the silo, to check a connection."""
        caller = await self._admitted_without_body(request)
        facts = schema.GatewayFacts(
            version=version_of("fedrec"),
            time=time.time(),
            silo=caller.silo,
            clock_offset_s=caller.clock_offset_s,
            max_object_bytes=self._settings.max_object_bytes,
        )
        await self._note(caller, "asked for the gateway's facts")
        return self._signed(request, json_response(facts))

    async def roster(self, request: Request) -> Response:
        """Return the silos of the federation and their public keys."""
        caller = await self._admitted_without_body(request)
        keys = await run_in_threadpool(self._trust.keys)
        members = [
            schema.Member(silo=silo, key_id=key_id(public), public_key=public_pem(public).decode())
            for silo, public in keys.items()
        ]
        await self._note(caller, "asked for the roster")
        return self._signed(request, json_response(schema.Roster(silos=members)))

    async def promoted(self, request: Request) -> Response:
        """Return the champions of the models whose federations the silo belongs to."""
        caller = await self._admitted_without_body(request)
        promoted = await run_in_threadpool(self._promoted, caller)
        await self._note(caller, "asked for what is promoted")
        models = [_as_promoted(each) for each in promoted]
        return self._signed(request, json_response(schema.PromotedModels(models=models)))

    async def promoted_file(self, request: Request, sha256: str) -> Response:
        """Return a file of a champion that the silo may serve."""
        caller = await self._admitted_without_body(request)

        def find() -> tuple[PublishedFile, str]:
            for model in self._promoted(caller):
                for file in model.files:
                    if file.sha256 == sha256:
                        return file, f"fetched {file.name} of {model.model_name} {model.target.bundle}"
            raise no_such("file")

        file, did = await run_in_threadpool(find)
        await self._note(caller, did, sha256=sha256, bytes=file.size)
        headers = {"content-length": str(file.size)}
        response = StreamingResponse(
            pieces_of(file.path), headers=headers, media_type="application/octet-stream"
        )
        return self._signed(request, response, sha256)

    async def enrol(self, request: Request) -> Response:
        """Trust the key of an invited silo. The request is signed with this key."""
        signed = as_signed(request)
        digest = request.headers.get("content-digest", "")
        data = await read_body(request, digest, _MAX_ENROLMENT_BYTES, self._settings)
        try:
            body = schema.Enrolment.model_validate_json(data)
            public = read_public(body.public_key.encode(), "public_key")
        except (ValidationError, InvalidInput) as error:
            raise Problem(422, "bad-enrolment", "The body must have silo, public_key and token.") from error

        def enrol() -> Caller:
            own = key_id(public)
            caller = self._admission.admit_enrolling(
                signed, body.silo, public, lambda: self._invitations.use(body.silo, body.token, own)
            )
            try:
                self._trust.trust(body.silo, public, force=True)
            except InvalidInput as error:
                raise Problem(409, "key-taken", error.what) from error
            return caller

        caller = await run_in_threadpool(enrol)
        await self._note(caller, f"enrolled key {caller.key_id}", enrolled=caller.key_id)
        request.state.silo = caller.silo
        return self._signed(request, Response(status_code=204))

    def _promoted(self, caller: Caller) -> list[PublishedModel]:
        """Return what the silo may serve. A bundle that is damaged here is left out."""
        found = []
        for name in self._members.models_of(caller.silo):
            try:
                found.append(published_model(self._settings.folder, name))
            except CorruptArtifact as error:
                json_log.write("error", "promoted", model=name, error=error.what)
        return [each for each in found if each is not None]

    async def _admitted_for(self, request: Request, order_id: str) -> tuple[Caller, PlacedOrder]:
        """Return who sent the request, and the order that it names, whatever its state."""
        caller, placed = await self._admitted(request, order_id)
        if placed is None or placed.silo != caller.silo:
            raise no_such("order")
        return caller, placed

    async def _admitted(
        self, request: Request, order_id: str | None = None
    ) -> tuple[Caller, PlacedOrder | None]:
        """Return who sent the request, whose body is not read yet, and any silo's order with this id."""
        caller, placed = await self._admit((as_signed(request), order_id))
        if isinstance(caller, Problem):
            raise caller
        request.state.silo = caller.silo
        return caller, placed

    def _admit_all(
        self, requests: Sequence[tuple[SignedRequest, str | None]]
    ) -> list[tuple[Caller | Problem, PlacedOrder | None]]:
        """Return who sent each request, or why it is refused, and the order that it names."""
        callers = self._admission.admit([request for request, _ in requests])
        # PostgreSQL refuses some texts, and then all orders of the group.
        ids = {order_id for _, order_id in requests if order_id and _ORDER_ID.fullmatch(order_id)}
        orders = self._book.find_all(ids) if ids else {}
        named = [orders.get(order_id) if order_id else None for _, order_id in requests]
        return list(zip(callers, named, strict=True))

    async def _admitted_without_body(self, request: Request) -> Caller:
        caller, _ = await self._admitted(request)
        require_no_body(request, caller.content_digest)
        return caller

    @contextlib.contextmanager
    def _one_of_few(self, silo: str) -> Iterator[None]:
        """Let a silo have few objects under way at once, because each is held in memory.

        Raises:
            Problem: 429, there are too many.
        """
        if self._under_way[silo] >= _MOST_AT_ONCE:
            raise Problem(
                429, "too-many", "Too many objects of this silo are under way.", {"retry-after": "1"}
            )
        self._under_way[silo] += 1
        try:
            yield
        finally:
            self._under_way[silo] -= 1

    def _take_answer(self, caller: Caller, placed: PlacedOrder, data: bytes) -> str:
        """Store an answer, end its order, and return what the silo did."""
        about = placed.context
        try:
            open_sealed(data, about, self._trust.key_of(caller.silo))
        except FedrecError as error:
            raise Problem(422, "no-answer", error.what) from error
        sha256 = sha256_of(data)
        is_again = (placed.state, placed.outcome) == ("answered", sha256)
        if placed.state != "open" and not is_again:
            raise _ended(placed)
        # Stored first: an answer without the note is handed in again, a note without the answer is a loss.
        folder = silo_answers_folder(about.silo, about.job_id, about.round, about.kind)
        ref = self._exchange.put(folder, data, sha256)
        if not is_again and not self._book.end(placed.id, "answered", sha256):
            raise _ended(self._book.find(caller.silo, placed.id))
        self._exchange.remove_others(ref)
        return f"answered order {placed.id}{' again' if is_again else ''}"

    def _signed(self, request: Request, response: Response, sha256: str | None = None) -> Response:
        answer = Answer(response.status_code, as_signed(request))
        sign_answer(answer, sha256 or sha256_of(response.body), self._key.private, self._key.key_id)
        response.headers.update(answer.headers)
        return response


def _as_promoted(model: PublishedModel) -> schema.PromotedModel:
    files = [schema.BundleFile(name=each.name, sha256=each.sha256, bytes=each.size) for each in model.files]
    return schema.PromotedModel(
        model_name=model.model_name,
        bundle=model.target.bundle,
        manifest_sha256=model.target.manifest_sha256,
        decision=dict(model.target.decision),
        files=files,
    )


def _note_away(error: Exception) -> None:
    json_log.write("error", "database", error=type(error).__name__)


def _ended(placed: PlacedOrder) -> Problem:
    """Return a 409 for an order that is not open."""
    if placed.state == "withdrawn":
        return Problem(409, "withdrawn", "The coordinator withdrew this order. Ask for the next one.")
    return Problem(
        409,
        "ended",
        f"This order has {placed.state} already, with another answer. If this silo's key is used in two "
        "places, stop one of them.",
    )
