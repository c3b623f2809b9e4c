"""Who sent a request: the silo whose trusted key signed it, now, and for the first time."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tasks.coordinator.trust_store import TrustStore
from tasks.gateway.visits import SeenSilo, Visit, Visits
from tasks.silos.http_signatures import BadSignature, Request, Signed, verify_request
from tasks.silos.keys import key_id
from tasks.web.problem import Problem

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


@dataclass(frozen=True)
class _Keys:
    """The trusted and the revoked keys at one time, by key id."""

    stamp: tuple[int, ...]
    trusted: Mapping[str, tuple[str, Ed25519PublicKey]]
    revoked: Mapping[str, str]

    def public_of(self, wanted: str) -> Ed25519PublicKey:
        """Return a trusted key.

        Raises:
            Problem: it was revoked.
            BadSignature: it is not trusted.
        """
        if wanted in self.revoked:
            raise Problem(
                403,
                "revoked",
                f"Key {wanted} of silo {self.revoked[wanted]!r} was revoked. Enrol with a new key pair: "
                "fedrec silo enrol --force.",
            )
        if wanted not in self.trusted:
            raise BadSignature(
                f"Key {wanted[:64]!r} is not trusted here. Ask the coordinator for an invitation, and run "
                "fedrec silo join FILE."
            )
        return self.trusted[wanted][1]


@dataclass(frozen=True)
class _Verified:
    """A request whose signature is valid, and the silo that sent it."""

    request: Request
    signed: Signed
    silo: str

    def visit(self, now: float) -> Visit:
        version = {name.lower(): value for name, value in self.request.headers.items()}.get(VERSION_HEADER)
        known = (version or "")[:_VERSION_CHARACTERS] or None
        seen = SeenSilo(self.silo, now, self.signed.created - now, known, None)
        return Visit(self.signed.key_id, self.signed.nonce, now + 2 * MAX_AGE_S, seen)

    def caller(self, now: float) -> Caller:
        signed = self.signed
        return Caller(self.silo, signed.key_id, signed.content_digest, signed.created - now)


class Admission:
    """Admits the requests of trusted silos.

    Args:
        trust: the silos' public keys. A change counts at once.
        visits: keeps the nonces, so that a request counts once for all processes of a gateway.
        coordinator: id of the coordinator's key.
    """

    def __init__(self, trust: TrustStore, visits: Visits, coordinator: str) -> None:
        self._trust, self._visits, self._coordinator = trust, visits, coordinator
        self._known: _Keys | None = None
        self._reading = Lock()

    def admit(self, requests: Sequence[Request]) -> list[Caller | Problem]:
        """Return who sent each request, or why it is refused.

        It is refused with 401 if there is no valid signature, or its time is not now; with 403 if the key was
        revoked; with 409 if the request was sent before.
        """
        keys, verified = self._keys(), list[_Verified | Problem]()
        for request in requests:
            try:
                signed = self._verified(request, keys.public_of)
                verified.append(_Verified(request, signed, keys.trusted[signed.key_id][0]))
            except Problem as denied:
                verified.append(denied)
        entered = iter(self._entered([each for each in verified if isinstance(each, _Verified)]))
        return [next(entered) if isinstance(each, _Verified) else each for each in verified]

    def require_trusted(self, caller: Caller) -> None:
        """Raise a 403 if a key was revoked since its request was admitted."""
        try:
            self._keys().public_of(caller.key_id)
        except BadSignature as error:
            raise Problem(403, "revoked", error.what) from error

    def admit_enrolling(
        self, request: Request, silo: str, public: Ed25519PublicKey, is_invited: Callable[[], bool]
    ) -> Caller:
        """Return the sender of a request that is signed with a key that is not trusted yet.

        Args:
            request: from any sender.
            silo: the silo that it names.
            public: the key that it names.
            is_invited: whether the silo may enrol this key. Until then nothing is written.

        Raises:
            Problem: as `admit`; 403 also if the key was revoked, or the silo is not invited.
        """
        own, keys = key_id(public), self._keys()
        signed = self._verified(request, lambda _: public)
        if signed.key_id != own:
            raise Problem(401, "unsigned", "The signature names another key than the body.")
        if own in keys.revoked:
            keys.public_of(own)
        if not is_invited():
            raise Problem(
                403,
                "no-invitation",
                "This invitation was used, withdrawn, has expired, or is for another silo. Ask the "
                "coordinator for a new one; if it was used and not by you, say so at once.",
            )
        (caller,) = self._entered([_Verified(request, signed, silo)])
        if isinstance(caller, Problem):
            raise caller
        return caller

    def _verified(self, request: Request, public_of: Callable[[str], Ed25519PublicKey]) -> Signed:
        self._require_small(request)
        try:
            signed = verify_request(request, public_of, self._coordinator)
        except BadSignature as error:
            raise Problem(401, "unsigned", error.what, {"www-authenticate": "Signature"}) from error
        offset = signed.created - time.time()
        if abs(offset) > MAX_AGE_S:
            raise Problem(
                401,
                "not-now",
                f"The request was signed {abs(offset):.0f} s {'after' if offset > 0 else 'before'} the "
                f"gateway's time, and at most {MAX_AGE_S} s are allowed. Set the silo's clock, and sign each "
                "request anew.",
            )
        return signed

    def _entered(self, verified: Sequence[_Verified]) -> list[Caller | Problem]:
        """Return the senders of verified requests, except of those that were sent before."""
        now = time.time()
        is_new = self._visits.enter([each.visit(now) for each in verified]) if verified else []
        return [each.caller(now) if new else _replayed() for each, new in zip(verified, is_new, strict=True)]

    def _keys(self) -> _Keys:
        """Return the keys as they are now. One thread reads them after a change."""
        with self._reading:
            stamp = self._trust.stamp()
            if self._known is None or self._known.stamp != stamp:
                trusted = {key_id(public): (silo, public) for silo, public in self._trust.keys().items()}
                self._known = _Keys(stamp, trusted, self._trust.revoked())
            return self._known

    @staticmethod
    def _require_small(request: Request) -> None:
        """Refuse headers that would take long to parse."""
        for name, value in request.headers.items():
            if (
                name.lower() in ("signature", "signature-input", "content-digest")
                and len(value) > _HEADER_BYTES
            ):
                raise Problem(401, "unsigned", f"Header {name} has more than {_HEADER_BYTES} characters.")


def _replayed() -> Problem:
    return Problem(409, "replayed", "This request was sent before. Sign each request anew.")
