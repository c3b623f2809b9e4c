"""A silo's side of the gateway: signed requests, and answers that the coordinator signed."""

from __future__ import annotations

import hashlib
import json
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any, BinaryIO

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import FedrecError, ForgedAnswer, InvalidConfig
from tasks.exchange.store import ArtifactRef
from tasks.silos.gateway_answers import (
    Ordered,
    facts_in,
    order_in,
    printable,
    problem_in,
    promotions_in,
    roster_in,
)
from tasks.silos.http_signatures import (
    Answer,
    BadSignature,
    Request,
    digest_header,
    sign_request,
    verify_answer,
)
from tasks.silos.keys import SiloKey, fingerprint, key_id, public_pem, read_public
from tasks.silos.promotion import PromotedFile, Promotion

PROTOCOL = 1
_TIMEOUT_S = 30.0
_MAX_JSON_BYTES = 10_000_000
_MAX_OBJECT_BYTES = 4_000_000_000
# A body that comes more slowly is given up.
_SLOWEST_BYTES_PER_S = 10_000
_OK, _CREATED, _NO_CONTENT = 200, 201, 204


class GatewayAway(FedrecError):
    """The gateway does not answer, or answers that it cannot now. Trying again later may help."""


class GatewayRefused(FedrecError):
    """The gateway refused a request. `status` and `kind` say why."""


@dataclass(frozen=True)
class Address:
    """Where a gateway is, and whose it is.

    Attributes:
        url: such as "https://coordinator.example:8443".
        coordinator: fingerprint of the coordinator's key: 64 hexadecimal digits.
        ca: certificates in PEM form that the gateway's must follow from; None for those of the system.
    """

    url: str
    coordinator: str
    ca: str | None = None


@dataclass(frozen=True)
class _Reply:
    """What came back.

    Attributes:
        status, headers, data: of the answer; no data if they were written elsewhere.
        sha256: of its body.
    """

    status: int
    headers: Mapping[str, str]
    data: bytes
    sha256: str


class GatewayClient:
    """A connection to a gateway.

    Args:
        address: of the gateway.
        key: of the silo.

    Raises:
        InvalidConfig: the address is none, or the certificates cannot be read.
    """

    def __init__(self, address: Address, key: SiloKey) -> None:
        self._address, self._key = address, key
        self._public: Ed25519PublicKey | None = None
        try:
            self._http = httpx.Client(
                base_url=address.url,
                verify=_trusted(address.ca),
                timeout=_TIMEOUT_S,
                headers={"fedrec-version": version_of("fedrec")},
            )
        except httpx.InvalidURL as error:
            raise InvalidConfig(f"{address.url!r} is not the address of a gateway: {error}.") from error

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def next_order(self, wait_s: float = 0.0) -> Ordered | None:
        """Return the next order, or None if none comes within `wait_s`.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        data = self._call("GET", f"/v1/orders?wait={wait_s:g}", timeout_s=wait_s + _TIMEOUT_S)
        if not data:
            return None
        return order_in(data)

    def fetch(self, ref: ArtifactRef) -> bytes:
        """Return an object that the open order names.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        # The size is the coordinator's word.
        data = self._call("GET", f"/v1/objects/{ref.sha256}", limit=min(ref.size, _MAX_OBJECT_BYTES))
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise ForgedAnswer(f"The gateway sent another object than {ref.sha256[:12]}.")
        return data

    def send_update(self, order_id: str, data: bytes) -> None:
        """Send an update.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        self._call("PUT", f"/v1/orders/{order_id}/updates/{hashlib.sha256(data).hexdigest()}", data)

    def send_answer(self, order_id: str, data: bytes) -> None:
        """Send a signed answer, which ends the order.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        self._call("PUT", f"/v1/orders/{order_id}/answer", data)

    def send_failure(self, order_id: str, error: str) -> None:
        """Say that an order cannot be done, and the kind of error.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        self._call("PUT", f"/v1/orders/{order_id}/failure", json.dumps({"error": error}).encode())

    def promotions(self) -> list[Promotion]:
        """Return what is promoted of the models that this silo may serve.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        return promotions_in(self._call("GET", "/v1/promoted"))

    def download(self, file: PromotedFile, target: Path) -> None:
        """Write a file of a promoted bundle to `target`.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        with target.open("wb") as out:
            limit = min(file.bytes, _MAX_OBJECT_BYTES)
            reply = self._reply("GET", f"/v1/promoted/{file.sha256}", limit=limit, into=out)
        if reply.sha256 != file.sha256:
            raise ForgedAnswer(f"The gateway sent another file than {file.name} with {file.sha256[:12]}.")

    def enrol(self, silo: str, token: str) -> None:
        """Enrol the silo's key with the token of an invitation.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        body = {"silo": silo, "public_key": public_pem(self._key.public).decode(), "token": token}
        self._call("POST", "/v1/enrolments", json.dumps(body).encode())

    def facts(self) -> dict[str, Any]:
        """Return what the gateway says of itself and of this silo.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        return facts_in(self._call("GET", "/v1/facts"))

    def agree(self, silo: str) -> None:
        """Make sure that the gateway speaks this silo's protocol, and knows its key by this name.

        Raises:
            GatewayRefused: it does not.
            GatewayAway, ForgedAnswer: there is no valid answer.
        """
        facts = self.facts()
        if facts["silo"] != silo:
            raise GatewayRefused(
                f"The gateway knows this key as silo {facts['silo']!r}, not as {silo!r}.",
                next_step=f"Set name: {facts['silo']} in silo.yaml.",
                kind="name",
            )
        oldest, newest = int(facts["oldest_protocol"]), int(facts["protocol"])
        if not oldest <= PROTOCOL <= newest:
            raise GatewayRefused(
                f"This silo speaks protocol {PROTOCOL}, but the gateway {oldest} to {newest}.",
                next_step=f"Install fedrec {facts['version']}, which the coordinator has.",
                kind="protocol",
            )

    def roster(self) -> list[dict[str, str]]:
        """Return the silos of the federation: `silo`, `key_id` and `public_key` of each.

        Raises:
            GatewayAway, GatewayRefused, ForgedAnswer: there is no valid answer.
        """
        return roster_in(self._call("GET", "/v1/roster"))

    def _call(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        limit: int = _MAX_JSON_BYTES,
        timeout_s: float = _TIMEOUT_S,
    ) -> bytes:
        """Return the body of the gateway's signed answer."""
        return self._reply(method, target, body, limit=limit, timeout_s=timeout_s).data

    def _reply(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        limit: int,
        timeout_s: float = _TIMEOUT_S,
        into: BinaryIO | None = None,
    ) -> _Reply:
        """Return the gateway's signed answer, whose body is written to `into` if that is given."""
        public = self._coordinator()
        request = Request(method, target)
        sign_request(
            request, hashlib.sha256(body).hexdigest(), self._key.private, self._key.key_id, key_id(public)
        )
        reply = self._send(request, body, limit, timeout_s, into)
        fault = self._fault(reply, request, public)
        if fault and 200 <= reply.status < 300:  # noqa: PLR2004  # of HTTP
            raise ForgedAnswer(fault)
        if fault:
            # A proxy between may have written it. Only the coordinator can refuse.
            raise self._nobody(reply.status)
        if reply.status not in (_OK, _CREATED, _NO_CONTENT):
            raise _problem(reply)
        return reply

    def _fault(self, reply: _Reply, request: Request, public: Ed25519PublicKey) -> str:
        """Return why an answer is not the coordinator's; empty if it is."""
        try:
            digest = verify_answer(Answer(reply.status, request, dict(reply.headers)), public, key_id(public))
        except BadSignature as error:
            return f"The answer of {self._address.url} is not signed by the coordinator: {error.what}"
        if digest != digest_header(reply.sha256):
            return f"The answer of {self._address.url} has another body than the signed one."
        return ""

    def _nobody(self, status: int) -> GatewayAway:
        """Return the error for an answer that says no, but not by the coordinator's word."""
        return GatewayAway(
            f"{self._address.url} answers with status {status}, and not in the coordinator's name.",
            next_step="If it lasts, check the address and the proxies between, and whether the coordinator "
            "has this version of fedrec.",
            status=status,
        )

    def _coordinator(self) -> Ed25519PublicKey:
        if self._public is None:
            reply = self._send(Request("GET", "/v1/key"), b"", _MAX_JSON_BYTES, _TIMEOUT_S)
            if reply.status != _OK:
                raise self._nobody(reply.status)
            public = read_public(reply.data, f"{self._address.url}/v1/key")
            if fingerprint(public) != self._address.coordinator:
                raise ForgedAnswer(
                    f"{self._address.url} has the key {fingerprint(public)}, but the coordinator's is "
                    f"{self._address.coordinator}.",
                    next_step="Ask the coordinator, over another channel, for the fingerprint that fedrec "
                    "gateway prints. If it has changed for a reason, join again with a new invitation.",
                )
            self._public = public
        return self._public

    def _send(
        self, request: Request, body: bytes, limit: int, timeout_s: float, into: BinaryIO | None = None
    ) -> _Reply:
        began = time.monotonic()
        try:
            with self._http.stream(
                request.method,
                request.target,
                content=body,
                headers=request.headers,
                timeout=httpx.Timeout(_TIMEOUT_S, read=timeout_s),
            ) as response:
                data, digest, size = bytearray(), hashlib.sha256(), 0
                keep: Callable[[bytes], object] = data.extend
                status = response.status_code
                if status != _OK:
                    limit = _MAX_JSON_BYTES  # why it was refused
                elif into:
                    keep = into.write
                for piece in response.iter_raw():
                    size += len(piece)
                    if size > limit and status != _OK:
                        raise self._nobody(status)
                    if size > limit:
                        raise ForgedAnswer(f"The answer of {self._address.url} has more than {limit} bytes.")
                    # The timeout of httpx is for each piece, and a body may have many.
                    if time.monotonic() - began > timeout_s + (len(body) + size) / _SLOWEST_BYTES_PER_S:
                        raise GatewayAway(f"The answer of {self._address.url} comes too slowly.")
                    digest.update(piece)
                    keep(piece)
                return _Reply(status, response.headers, bytes(data), digest.hexdigest())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            is_untrusted = _is_untrusted(error)
            raise GatewayAway(
                f"The gateway at {self._address.url} does not answer: {type(error).__name__}: "
                f"{printable(str(error))}.",
                next_step="Its TLS certificate is not valid for this address, or of no authority that this "
                "silo trusts. Ask the coordinator for an invitation with the gateway's certificate and an "
                "address that it is valid for: fedrec invite NAME --url URL --ca FILE."
                if is_untrusted
                else "fedrec silo doctor examines the connection.",
                is_untrusted=is_untrusted,
            ) from error


def _problem(reply: _Reply) -> FedrecError:
    """Return the error for an answer in which the coordinator says no."""
    status = reply.status
    kind, detail = problem_in(reply.data) or ("http", f"status {status}")
    # A request is sent here once, so a proxy sent it twice: the first may have been taken.
    if status >= 500 or status in (408, 429) or (status, kind) == (409, "replayed"):  # noqa: PLR2004  # of HTTP
        return GatewayAway(f"The gateway cannot answer now: {detail}", status=status)
    return GatewayRefused(f"The gateway refused: {detail}", status=status, kind=kind)


def _is_untrusted(error: BaseException) -> bool:
    """Return whether a connection failed because of the gateway's TLS certificate."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = cause.__cause__ or cause.__context__
    return cause is not None


def _trusted(ca: str | None) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=ca)
    except (ValueError, ssl.SSLError) as error:
        raise InvalidConfig(f"The gateway's certificates are not in PEM form: {error}.") from error
