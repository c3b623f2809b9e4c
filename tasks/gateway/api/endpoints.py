"""What the gateway does with a silo's requests. A silo gets its own orders and what they name."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from importlib.metadata import version as version_of
from typing import Annotated

from fastapi import Query
from pydantic import ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from models.errors import CorruptArtifact, InvalidInput
from tasks.coordinator.trust_store import TrustStore
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.gateway.access_record import access_record
from tasks.gateway.api import schema
from tasks.gateway.api.admission import Admission, Caller
from tasks.gateway.api.grouped import Grouped
from tasks.gateway.api.intake import Intake, ended
from tasks.gateway.api.notes import Notes
from tasks.gateway.api.order_watch import OrderWatch
from tasks.gateway.api.problems import no_such
from tasks.gateway.api.slots import HeldResponse, Slots
from tasks.gateway.api.wire import (
    as_signed,
    disconnected,
    json_response,
    pieces_of,
    pieces_of_file,
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
from tasks.silos.signed_answers import MAX_ANSWER_BYTES
from tasks.web import json_log
from tasks.web.problem import Problem

_SHA256 = re.compile(r"[0-9a-f]{64}")
_ORDER_ID = re.compile(r"[0-9a-f-]{36}")
_MAX_FAILURE_BYTES = 1000
# Of one silo at once: objects that are read or sent, and requests that wait for an order.
_MOST_OBJECTS, _MOST_WAITS = 4, 4
_BYTES = "application/octet-stream"
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
        self._intake = Intake(self._exchange, self._book, self._trust)
        self._objects = Slots(_MOST_OBJECTS, "objects")
        self._waits = Slots(_MOST_WAITS, "requests for orders")
        self.public = self._key.public
        self.watch = OrderWatch(self._book, _note_away)

    async def order(self, request: Request, wait: Annotated[float, Query(ge=0, le=3600)] = 0.0) -> Response:
        """Return the silo's next order, or 204 if none comes while the request waits (long-polling)."""
        caller = await self._admitted_without_body(request)
        wait_s = min(wait, self._settings.longest_wait_s)
        with self._waits.hold(caller.silo):
            placed = await self.watch.next_for(caller.silo, wait_s, lambda: disconnected(request))
        if placed is None:
            return self.signed(request, Response(status_code=204))
        # The key may have been revoked while the request waited.
        await run_in_threadpool(self._admission.require_trusted, caller)
        # A silo at work asks again and again whether its order still counts.
        first = {"order": placed.id} if placed.fetched_at is None else {}
        await self._note(caller, f"fetched order {placed.id}", **first)
        body = schema.OrderBody(id=placed.id, order=dict(placed.body))
        return self.signed(request, json_response(body))

    async def object(self, request: Request, sha256: str) -> Response:
        """Return an object that an open order of this silo names."""
        caller = await self._admitted_without_body(request)

        def read() -> bytes:
            placed = self._book.first_open([caller.silo]).get(caller.silo)
            ref = placed.objects.get(sha256) if placed else None
            if ref is None:
                raise no_such("object")
            return self._exchange.get(ref)

        with self._objects.until_sent(caller.silo) as give_back:
            data = await run_in_threadpool(read)
            await self._note(caller, f"fetched object {sha256[:12]}", sha256=sha256, bytes=len(data))
            response = HeldResponse(pieces_of(data), len(data), give_back, media_type=_BYTES)
            return self.signed(request, response, sha256)

    async def update(self, request: Request, order_id: str, sha256: str) -> Response:
        """Keep the update that answers an order, under its SHA-256. The same upload again changes nothing."""
        caller, placed = await self._admitted_for(request, order_id)
        if placed.state not in ("open", "answered"):
            raise ended(placed)
        if not _SHA256.fullmatch(sha256) or caller.content_digest != digest_header(sha256):
            raise Problem(401, "other-body", "The path names another SHA-256 than the signed Content-Digest.")
        with self._objects.hold(caller.silo):
            data = await read_body(
                request, caller.content_digest, self._settings.max_object_bytes, self._settings
            )

            def keep() -> ArtifactRef:
                self._admission.require_trusted(caller)
                return self._intake.keep_update(caller.silo, order_id, data, sha256)

            ref = await run_in_threadpool(keep)
        did = f"sent an update for order {order_id}"
        await self._note(caller, did, order=order_id, sha256=sha256, bytes=ref.size)
        return self.signed(request, json_response(schema.Accepted(sha256=ref.sha256, bytes=ref.size), 201))

    async def answer(self, request: Request, order_id: str) -> Response:
        """Keep the silo's signed answer to an order, which ends the order. The first answer counts."""
        caller, placed = await self._admitted_for(request, order_id)
        with self._objects.hold(caller.silo):
            data = await read_body(request, caller.content_digest, MAX_ANSWER_BYTES, self._settings)
            sha256 = sha256_of(data)

            def take() -> str:
                self._admission.require_trusted(caller)
                return self._intake.take_answer(placed, data, sha256)

            did = await run_in_threadpool(take)
        await self._note(caller, did, order=placed.id, sha256=sha256, bytes=len(data))
        return self.signed(request, json_response(schema.Accepted(sha256=sha256, bytes=len(data)), 201))

    async def failure(self, request: Request, order_id: str) -> Response:
        """End an order that the silo cannot do. Only the kind of error leaves the silo."""
        caller, placed = await self._admitted_for(request, order_id)
        data = await read_body(request, caller.content_digest, _MAX_FAILURE_BYTES, self._settings)
        try:
            failure = schema.Failure.model_validate_json(data)
        except ValidationError as error:
            raise Problem(422, "bad-failure", 'The body must be {"error": "NameOfTheError"}.') from error
        await run_in_threadpool(self._intake.end_failed, placed, failure.error)
        did = f"could not do order {order_id}: {failure.error}"
        await self._note(caller, did, order=order_id)
        return self.signed(request, Response(status_code=204))

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
        return self.signed(request, json_response(facts))

    async def roster(self, request: Request) -> Response:
        """Return the silos of the federation and their public keys."""
        caller = await self._admitted_without_body(request)
        keys = await run_in_threadpool(self._trust.keys)
        members = [
            schema.Member(silo=silo, key_id=key_id(public), public_key=public_pem(public).decode())
            for silo, public in keys.items()
        ]
        await self._note(caller, "asked for the roster")
        return self.signed(request, json_response(schema.Roster(silos=members)))

    async def promoted(self, request: Request) -> Response:
        """Return the champions of the models whose federations the silo belongs to."""
        caller = await self._admitted_without_body(request)
        promoted = await run_in_threadpool(self._promoted, caller)
        await self._note(caller, "asked for what is promoted")
        models = [_as_promoted(each) for each in promoted]
        return self.signed(request, json_response(schema.PromotedModels(models=models)))

    async def promoted_file(self, request: Request, sha256: str) -> Response:
        """Return a file of a champion that the silo may serve."""
        caller = await self._admitted_without_body(request)

        def find() -> tuple[PublishedFile, str]:
            for model in self._promoted(caller):
                for file in model.files:
                    if file.sha256 == sha256:
                        return file, f"fetched {file.name} of {model.model_name} {model.target.bundle}"
            raise no_such("file")

        with self._objects.until_sent(caller.silo) as give_back:
            file, did = await run_in_threadpool(find)
            await self._note(caller, did, sha256=sha256, bytes=file.size)
            response = HeldResponse(pieces_of_file(file.path), file.size, give_back, media_type=_BYTES)
            return self.signed(request, response, sha256)

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
            def is_invited() -> bool:
                removed_at = self._trust.last_revoked(body.silo)
                return self._invitations.use(body.silo, body.token, key_id(public), made_after=removed_at)

            caller = self._admission.admit_enrolling(signed, body.silo, public, is_invited)
            try:
                self._trust.trust(body.silo, public, force=True)
            except InvalidInput as error:
                raise Problem(409, "key-taken", error.what) from error
            return caller

        caller = await run_in_threadpool(enrol)
        await self._note(caller, f"enrolled key {caller.key_id}", enrolled=caller.key_id)
        request.state.silo = caller.silo
        return self.signed(request, Response(status_code=204))

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

    def signed(self, request: Request, response: Response, sha256: str | None = None) -> Response:
        """Return the response with the coordinator's signature, which covers the request's."""
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
