"""Who sent a request: the silo whose trusted key signed it, now, and for the first time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tasks.coordinator.trust_store import TrustStore
from tasks.gateway.api.problem import Denied
from tasks.gateway.visits import SeenSilo, Visits
from tasks.silos.http_signatures import BadSignature, Request, verify_request
from tasks.silos.keys import key_id

# A request may be this old or, because clocks differ, this new.
MAX_AGE_S = 300
_HEADER_BYTES = 4096
VERSION_HEADER = "fedrec-version"
_VERSION_CHARACTERS = 64


@dataclass(frozen=True)
class Caller:
    """The sender of a verified request.

    Attributes:
        silo: its name.
        key_id: id of its key.
        content_digest: what `digest_header` must return for the request's body.
        clock_offset_s: seconds by which its clock is ahead.
    """

    silo: str
    key_id: str
    content_digest: str
    clock_offset_s: float


class Admission:
    """Admits the requests of trusted silos.

    Args:
        trust: the silos' public keys. A change counts at once.
        visits: keeps the nonces, so that a request counts once for all processes of a gateway.
        coordinator: id of the coordinator's key.
    """

    def __init__(self, trust: TrustStore, visits: Visits, coordinator: str) -> None:
        self._trust, self._visits, self._coordinator = trust, visits, coordinator
        self._keys: Mapping[str, tuple[str, Ed25519PublicKey]] = {}
        self._revoked: Mapping[str, str] = {}
        self._read_at: tuple[int, ...] | None = None

    def admit(self, request: Request, enrolling: tuple[str, Ed25519PublicKey] | None = None) -> Caller:
        """Return who sent a request.

        Args:
            request: from any sender.
            enrolling: the silo and the key that signed, if the key is not trusted yet.

        Raises:
            Denied: 401, there is no valid signature, or its time is not now; 403, the key was revoked; 409,
                the request was sent before.
        """
        self._read_keys()
        self._require_small(request)
        try:
            signed = verify_request(
                request, (lambda _: enrolling[1]) if enrolling else self._public_of, self._coordinator
            )
        except BadSignature as error:
            raise Denied(401, "unsigned", error.what, {"www-authenticate": "Signature"}) from error
        now = time.time()
        offset = signed.created - now
        if abs(offset) > MAX_AGE_S:
            raise Denied(
                401,
                "not-now",
                f"The request was signed {abs(offset):.0f} s {'after' if offset > 0 else 'before'} the "
                f"gateway's time, and at most {MAX_AGE_S} s are allowed. Set the silo's clock, and sign each "
                "request anew.",
            )
        silo = enrolling[0] if enrolling else self._keys[signed.key_id][0]
        version = {name.lower(): value for name, value in request.headers.items()}.get(VERSION_HEADER)
        seen = SeenSilo(silo, now, offset, (version or "")[:_VERSION_CHARACTERS] or None, None)
        if not self._visits.enter(signed.key_id, signed.nonce, now + 2 * MAX_AGE_S, seen):
            raise Denied(409, "replayed", "This request was sent before. Sign each request anew.")
        return Caller(silo, signed.key_id, signed.content_digest, offset)

    def _public_of(self, wanted: str) -> Ed25519PublicKey:
        if wanted in self._revoked:
            raise Denied(
                403,
                "revoked",
                f"Key {wanted} of silo {self._revoked[wanted]!r} was revoked. Enrol with a new key pair: "
                "fedrec silo enrol --force.",
            )
        if wanted not in self._keys:
            raise BadSignature(f"Key {wanted[:64]!r} is not trusted here.")
        return self._keys[wanted][1]

    def _read_keys(self) -> None:
        stamp = self._trust.stamp()
        if stamp != self._read_at:
            self._keys = {key_id(public): (silo, public) for silo, public in self._trust.keys().items()}
            self._revoked = self._trust.revoked()
            self._read_at = stamp

    @staticmethod
    def _require_small(request: Request) -> None:
        """Refuse headers that would take long to parse."""
        for name, value in request.headers.items():
            if (
                name.lower() in ("signature", "signature-input", "content-digest")
                and len(value) > _HEADER_BYTES
            ):
                raise Denied(401, "unsigned", f"Header {name} has more than {_HEADER_BYTES} characters.")
