"""What a hostile silo makes of its updates and answers, with its place, its key, and another lie each round.

It trains as it is asked, so that each of its lies is wrong in one respect only.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from models.federation.envelope import Envelope, read_envelope
from tasks.exchange.store import ArtifactRef, Exchange
from tasks.local.home import Home, current_home
from tasks.silos.guarded_exchange import GuardedExchange
from tasks.silos.keys import SiloKey, load_key
from tasks.silos.signed_answers import MAX_ANSWER_BYTES, seal
from tests.faults.damage import SENT, STORED, TERABYTE, flipped, grown, halved, stored

# Round 1 is honest: some lies repeat it.
FIRST_LIE = 2


class HostileExchange(GuardedExchange):
    """An exchange past the border, whose objects are what the lie of the round makes of them."""

    @property
    def root(self) -> Path:
        return Path(self.url.removeprefix("file://"))

    def put(self, folder: str, data: bytes) -> ArtifactRef:
        """What lies there in the end, or is said to."""
        lies = ANSWERS if folder.endswith("-train") else UPDATES if "/updates/" in folder else {}
        lie, _ = lies.get(lie_of(self.border.round), (HostileExchange.leave, ""))
        return lie(self, folder, data)

    def leave(self, folder: str, data: bytes) -> ArtifactRef:
        """The policy is not asked, and the ledger only so that its head moves on as an honest one's does."""
        sha256 = hashlib.sha256(data).hexdigest()
        self.border.ledger.record(
            what="lie",
            job_id=self.border.job_id,
            round=self.border.round,
            bytes=len(data),
            sha256=sha256,
            fields=[],
            to=folder,
        )
        return Exchange.put(self, folder, data)

    def remove(self, folder: str) -> None:
        """Nothing is removed: what was sent once can be sent again."""

    def answer_of(self, silo: str, round_: int, step: str = "train") -> bytes:
        """A genuine answer that anybody can read."""
        folder = self.root / "silos" / silo / self.border.job_id / "answers" / f"{round_:06d}-{step}"
        (file,) = folder.glob("*.safetensors")
        return file.read_bytes()


Lie = Callable[[HostileExchange, str, bytes], ArtifactRef]


def sent(change: Callable[[bytes], bytes]) -> Lie:
    """Other bytes, under their own SHA-256."""
    return lambda exchange, folder, data: exchange.leave(folder, change(data))


def damaged(change: Callable[[Path], None]) -> Lie:
    """Other bytes, under the SHA-256 of the right ones; those are never there to be read."""

    def lie(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
        aside = exchange.root / exchange.leave(f"{folder}-aside", data).path
        change(aside)
        ref = ArtifactRef(f"{folder}/{aside.name}", aside.stem, len(data))
        target = exchange.root / ref.path
        target.parent.mkdir(parents=True, exist_ok=True)
        if aside.exists():
            aside.rename(target)
        return ref

    return lie


def claimed(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
    """A terabyte, and a signature that says so."""
    return replace(damaged(grown)(exchange, folder, data), size=TERABYTE)


def replayed(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
    """The update of round 1."""
    (file,) = (exchange.root / folder).with_name("000001").glob("*.safetensors")
    return exchange.leave(folder, file.read_bytes())


def signed_anew(key: Callable[[], SiloKey], change: Callable[[Envelope], dict[str, Any]]) -> Lie:
    """The answer with other parts, under a signature that fits it."""

    def lie(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
        envelope, _ = read_envelope(data, exchange.border.silo)
        signer = key()
        changed = replace(envelope, public_key_id=signer.key_id, **change(envelope))
        return exchange.leave(folder, seal(changed, signer))

    return lie


def own() -> SiloKey:
    return load_key(current_home())


def birch_s() -> SiloKey:
    """Of a trusted silo that plays along."""
    return load_key(Home(current_home().root.parent / "birch"))


def unknown() -> SiloKey:
    return SiloKey(Ed25519PrivateKey.generate(), Path("nowhere"))


def asked(**parts: Any) -> Callable[[Envelope], dict[str, Any]]:
    """As if the question had been another."""
    return lambda envelope: {"context": replace(envelope.context, **parts)}


def told(**parts: Any) -> Callable[[Envelope], dict[str, Any]]:
    """As if the answer had been another."""
    return lambda envelope: {"body": {**envelope.body, **parts}}


def elsewhere(old: str, new: str) -> Callable[[Envelope], dict[str, Any]]:
    """As if the update lay in another folder."""

    def moved(envelope: Envelope) -> dict[str, Any]:
        update = envelope.body["update"]
        path = re.sub(old, new, update["path"], count=1)
        return told(update={**update, "path": path})(envelope)

    return moved


def again(silo: str, round_: int, step: str = "train") -> Lie:
    """A genuine answer is sent again."""
    return lambda exchange, folder, _: exchange.leave(folder, exchange.answer_of(silo, round_, step))


def unsigned(data: bytes) -> bytes:
    facts = json.loads(data)
    del facts["signature"]
    return json.dumps(facts).encode()


def by_nobody(data: bytes) -> bytes:
    return data.replace(json.loads(data)["signature"].encode(), b"0" * 128)


def nothing(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
    return ArtifactRef(folder, "", 0)


# The lie -> how it is told, and the reason for which its update is refused.
UPDATES: dict[str, tuple[Lie, str]] = {
    **{name: (sent(change), reason) for name, (change, reason) in SENT.items()},
    **{name: (damaged(change), reason) for name, (change, reason) in STORED.items()},
    "replay": (replayed, "base round"),
    "a terabyte, signed": (claimed, f"has {TERABYTE} bytes, but its arrays have"),
}
# The same of the answer that names the update.
ANSWERS: dict[str, tuple[Lie, str]] = {
    "unsigned": (sent(unsigned), "is not signed"),
    "signature of zeros": (sent(by_nobody), "has a signature that its key did not make"),
    "unknown key": (signed_anew(unknown, told()), "is signed with key"),
    "another silo's key": (signed_anew(birch_s, told()), "is signed with key"),
    "another silo's answer": (again("birch", 1), "is signed with key"),
    "in another's name": (signed_anew(own, asked(silo="birch")), "speaks for silo 'birch'"),
    "stale": (signed_anew(own, asked(round=1)), "is to round 1"),
    "of another model": (signed_anew(own, asked(base_sha256="0" * 64)), "is to base_sha256"),
    "of another job": (signed_anew(own, asked(job_id="another")), "is to job_id 'another'"),
    "replayed": (again("cedar", 1), "StaleUpdate"),
    "replay of another step": (again("cedar", 0, "check"), "is to kind 'check'"),
    "truncated": (sent(halved), "is not JSON"),
    "truncated when stored": (damaged(stored(halved)), "SHA-256"),
    "bit flipped": (sent(flipped), "ForgedAnswer"),
    "bit flipped when stored": (damaged(stored(flipped)), "SHA-256"),
    "oversized": (sent(lambda data: data + b" " * MAX_ANSWER_BYTES), f"at most {MAX_ANSWER_BYTES} are read"),
    "a terabyte": (damaged(grown), f"has {TERABYTE} bytes, at most"),
    "an update of nobody's": (signed_anew(own, told(update=None)), "of a wrong form"),
    "no number": (signed_anew(own, told(seconds="nan")), "is no number"),
    "less than nothing": (
        signed_anew(own, told(update={"path": "", "sha256": "", "size": -1})),
        "is no count",
    ),
    "another silo's update": (signed_anew(own, elsewhere("cedar", "birch")), "names 'silos/birch"),
    "an earlier round's update": (signed_anew(own, elsewhere("/[0-9]{6}/", "/000001/")), "as its update"),
    "none": (nothing, "contains no answer"),
}
EVERY = [*UPDATES, *ANSWERS]


def lie_of(round_: int) -> str:
    """The round's lie; empty where the silo is honest."""
    return EVERY[round_ - FIRST_LIE] if FIRST_LIE <= round_ < FIRST_LIE + len(EVERY) else ""
