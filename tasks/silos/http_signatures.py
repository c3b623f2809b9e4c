"""Requests to a gateway and its answers, signed with Ed25519 by HTTP Message Signatures (RFC 9421).

A request's signature covers its method, path, query and body, the time, a nonce, and the coordinator that it
is for. An answer's signature covers its status and body, and the signature of the request that it answers, so
that an answer to another request is not accepted.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    PreparedSignature,
)
from http_message_signatures.algorithms import ED25519

from models.errors import FedrecError

_LABEL = "fedrec"
_REQUEST = ("@method", "@path", "@query", "content-digest")
_ANSWER = (
    "@status",
    "content-digest",
    '"@method";req',
    '"@path";req',
    '"@query";req',
    '"signature";req',
)
_NONCE_BYTES = 16
# The gateway compares the time itself, so that it can say by how much a clock is wrong.
_ANY_TIME = timedelta(days=20_000)


class BadSignature(FedrecError):
    """A request or an answer carries no valid signature of the expected key."""


@dataclass
class Request:
    """A request as it is signed.

    Attributes:
        method: such as "GET".
        target: the path and the query, encoded as they travel.
        headers: the headers, to which `sign_request` adds.
    """

    method: str
    target: str
    headers: Any = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Return an address with the request's path and query. The host is not signed: a proxy changes it."""
        return f"https://gateway{self.target}"


@dataclass
class Answer:
    """A gateway's answer as it is signed.

    Attributes:
        status_code: of HTTP.
        request: the request that it answers, with its signature.
        headers: the headers, to which `sign_answer` adds.
    """

    status_code: int
    request: Request
    headers: Any = field(default_factory=dict)


@dataclass(frozen=True)
class Signed:
    """What a verified request says about itself.

    Attributes:
        key_id: id of the key that signed it.
        created: Unix time by the sender's clock.
        nonce: random text that no other request of this key has.
        content_digest: what `digest_header` must return for the body.
    """

    key_id: str
    created: int
    nonce: str
    content_digest: str


def digest_header(sha256: str) -> str:
    """Return the value of Content-Digest (RFC 9530) for a body with this hexadecimal SHA-256."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def sign_request(
    request: Request,
    body_sha256: str,
    private: Ed25519PrivateKey,
    key_id: str,
    coordinator: str,
    *,
    created: datetime | None = None,
) -> None:
    """Add a signature to the request's headers.

    Args:
        request: the request.
        body_sha256: hexadecimal SHA-256 of its body.
        private: the sender's key.
        key_id: its id.
        coordinator: id of the coordinator's key. Another coordinator does not accept the request.
        created: time of the signature; now if empty.
    """
    request.headers["Content-Digest"] = digest_header(body_sha256)
    prepared = _SIGNER.prepare(
        request,
        key_id=key_id,
        created=created,
        nonce=secrets.token_urlsafe(_NONCE_BYTES),
        label=_LABEL,
        tag=_tag(coordinator),
        covered_component_ids=_REQUEST,
        use_existing_digest=True,
    )
    _add_signature(request, prepared, private)


def verify_request(
    request: Request, public_of: Callable[[str], Ed25519PublicKey], coordinator: str
) -> Signed:
    """Return what a request says about itself, after verifying its signature. Its body is not read.

    The caller must compare the time, refuse a nonce that it has seen, and compare the body's digest.

    Args:
        request: from any sender.
        public_of: returns the public key with an id. What it raises is raised here.
        coordinator: id of this coordinator's key.

    Raises:
        BadSignature: there is no valid signature.
    """
    parameters = _verified(request, _KeysBy(public_of), coordinator, _REQUEST)
    nonce = parameters.get("nonce")
    if not isinstance(nonce, str) or not _NONCE_BYTES <= len(nonce) <= 4 * _NONCE_BYTES:
        raise BadSignature("The signature has no nonce of 16 to 64 characters.")
    return Signed(
        key_id=str(parameters["keyid"]),
        created=int(parameters["created"]),
        nonce=nonce,
        content_digest=_digest_in(request),
    )


def sign_answer(answer: Answer, body_sha256: str, private: Ed25519PrivateKey, key_id: str) -> None:
    """Add a signature of the coordinator to the answer's headers.

    Args:
        answer: the answer.
        body_sha256: hexadecimal SHA-256 of its body.
        private: the coordinator's key.
        key_id: its id.
    """
    answer.headers["Content-Digest"] = digest_header(body_sha256)
    prepared = _SIGNER.prepare(
        answer,
        key_id=key_id,
        label=_LABEL,
        tag=_tag(key_id),
        covered_component_ids=_ANSWER,
        use_existing_digest=True,
    )
    _add_signature(answer, prepared, private)


def verify_answer(answer: Answer, public: Ed25519PublicKey, key_id: str) -> str:
    """Return what `digest_header` must return for the answer's body, after verifying the signature.

    The time is ignored: the answer is bound to a request that was sent just now.

    Raises:
        BadSignature: the coordinator did not sign this answer to this request.
    """
    _verified(answer, _KeysBy(lambda _: public), key_id, _ANSWER)
    return _digest_in(answer)


class _KeysBy(HTTPSignatureKeyResolver):
    """Resolves keys by a function, and keeps the error that it raises."""

    def __init__(self, public_of: Callable[[str], Ed25519PublicKey]) -> None:
        self._public_of = public_of
        self.error: Exception | None = None

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey:
        try:
            return self._public_of(key_id)
        except Exception as error:
            self.error = error
            raise


class _Verifier(HTTPMessageVerifier):
    max_clock_skew = _ANY_TIME


_SIGNER = HTTPMessageSigner(signature_algorithm=ED25519)


def _add_signature(
    message: Request | Answer, prepared: PreparedSignature, private: Ed25519PrivateKey
) -> None:
    # The library's `sign` would build what is signed twice, in case the message changed meanwhile.
    signature = base64.b64encode(private.sign(prepared.signature_base)).decode()
    message.headers["Signature-Input"] = f"{prepared.label}={prepared.signature_params}"
    message.headers["Signature"] = f"{prepared.label}=:{signature}:"


def _verified(
    message: Request | Answer, keys: _KeysBy, coordinator: str, components: tuple[str, ...]
) -> MutableMapping[str, Any]:
    try:
        results = _Verifier(signature_algorithm=ED25519, key_resolver=keys).verify(
            message, max_age=None, expect_tag=_tag(coordinator), require_components=components
        )
    except Exception as error:
        if keys.error is not None:
            raise keys.error from None
        if isinstance(error, InvalidSignature) and str(error):
            raise BadSignature(f"{str(error).rstrip('.')}.") from error
        # Headers may be anything.
        raise BadSignature(f"The signature cannot be read: {type(error).__name__}.") from error
    if len(results) != 1:
        raise BadSignature("There are several signatures.")
    return results[0].parameters


def _digest_in(message: Request | Answer) -> str:
    return next(str(value) for name, value in message.headers.items() if name.lower() == "content-digest")


def _tag(coordinator: str) -> str:
    return f"fedrec/1 {coordinator}"
