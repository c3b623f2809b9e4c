"""What a hostile silo makes of its updates and answers. Its key is trusted, and it lies once a round.

It trains as ordered, so that each lie is wrong in one respect only.
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

# Round 1 is honest, because some lies repeat it.
FIRST_LIE = 2


class HostileExchange(GuardedExchange):
    """An exchange behind the silo's border that stores what the lie of the round makes of each object."""

    @property
    def root(self) -> Path:
        return Path(self.url.removeprefix("file://"))

    def put(self, folder: str, data: bytes) -> ArtifactRef:
        """Store what the round's lie makes of the bytes. Return the reference that the silo claims."""
        lies = ANSWERS if folder.endswith("-train") else UPDATES if "/updates/" in folder else {}
        lie, _ = lies.get(lie_of(self.border.round), (HostileExchange.leave, ""))
        return lie(self, folder, data)

    def leave(self, folder: str, data: bytes) -> ArtifactRef:
        """Store the bytes against the policy. The ledger records them, so that its head moves as usual."""
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
        """Remove nothing, so that what was sent once can be sent again."""

    def answer_of(self, silo: str, round_: int, step: str = "train") -> bytes:
        """Return a genuine answer that anybody can read."""
        folder = self.root / "silos" / silo / self.border.job_id / "answers" / f"{round_:06d}-{step}"
        (file,) = folder.glob("*.safetensors")
        return file.read_bytes()


Lie = Callable[[HostileExchange, str, bytes], ArtifactRef]


def sent(change: Callable[[bytes], bytes]) -> Lie:
    """Return a lie that stores other bytes under their own SHA-256."""
    return lambda exchange, folder, data: exchange.leave(folder, change(data))


def damaged(change: Callable[[Path], None]) -> Lie:
    """Return a lie that stores other bytes under the SHA-256 of the right ones, which are never readable."""

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
    """Store a terabyte and claim its true size."""
    return replace(damaged(grown)(exchange, folder, data), size=TERABYTE)


def replayed(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
    """Store the update of round 1 again."""
    (file,) = (exchange.root / folder).with_name("000001").glob("*.safetensors")
    return exchange.leave(folder, file.read_bytes())


def signed_again(key: Callable[[], SiloKey], change: Callable[[Envelope], dict[str, Any]]) -> Lie:
    """Return a lie that changes parts of the answer and signs it again with `key`."""

    def lie(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
        envelope, _ = read_envelope(data, exchange.border.silo)
        signer = key()
        changed = replace(envelope, public_key_id=signer.key_id, **change(envelope))
        return exchange.leave(folder, seal(changed, signer))

    return lie


def own() -> SiloKey:
    return load_key(current_home())


def birch_s() -> SiloKey:
    """Return the key of a trusted silo that cooperates."""
    return load_key(Home(current_home().root.parent / "birch"))


def unknown() -> SiloKey:
    return SiloKey(Ed25519PrivateKey.generate(), Path("nowhere"))


def with_question(**parts: Any) -> Callable[[Envelope], dict[str, Any]]:
    """Change parts of the question that the answer names."""
    return lambda envelope: {"context": replace(envelope.context, **parts)}


def with_body(**parts: Any) -> Callable[[Envelope], dict[str, Any]]:
    """Change parts of the answer's body."""
    return lambda envelope: {"body": {**envelope.body, **parts}}


def elsewhere(old: str, new: str) -> Callable[[Envelope], dict[str, Any]]:
    """Change the folder of the update."""

    def moved(envelope: Envelope) -> dict[str, Any]:
        update = envelope.body["update"]
        path = re.sub(old, new, update["path"], count=1)
        return with_body(update={**update, "path": path})(envelope)

    return moved


def again(silo: str, round_: int, step: str = "train") -> Lie:
    """Return a lie that sends a genuine answer again."""
    return lambda exchange, folder, _: exchange.leave(folder, exchange.answer_of(silo, round_, step))


def unsigned(data: bytes) -> bytes:
    facts = json.loads(data)
    del facts["signature"]
    return json.dumps(facts).encode()


def by_nobody(data: bytes) -> bytes:
    return data.replace(json.loads(data)["signature"].encode(), b"0" * 128)


def nothing(exchange: HostileExchange, folder: str, data: bytes) -> ArtifactRef:
    return ArtifactRef(folder, "", 0)


# The lie -> how it is made, and the reason for which its update is refused.
UPDATES: dict[str, tuple[Lie, str]] = {
    **{name: (sent(change), reason) for name, (change, reason) in SENT.items()},
    **{name: (damaged(change), reason) for name, (change, reason) in STORED.items()},
    "replay": (replayed, "base round"),
    "a terabyte, signed": (claimed, f"has {TERABYTE} bytes, but its arrays have"),
}
# The same for the answer that names the update.
ANSWERS: dict[str, tuple[Lie, str]] = {
    "unsigned": (sent(unsigned), "is not signed"),
    "signature of zeros": (sent(by_nobody), "has a signature that its key did not make"),
    "unknown key": (signed_again(unknown, with_body()), "is signed with key"),
    "another silo's key": (signed_again(birch_s, with_body()), "is signed with key"),
    "another silo's answer": (again("birch", 1), "is signed with key"),
    "in another's name": (signed_again(own, with_question(silo="birch")), "speaks for silo 'birch'"),
    "stale": (signed_again(own, with_question(round=1)), "is to round 1"),
    "of another model": (signed_again(own, with_question(base_sha256="0" * 64)), "is to base_sha256"),
    "of another job": (signed_again(own, with_question(job_id="another")), "is to job_id 'another'"),
    "replayed": (again("cedar", 1), "StaleUpdate"),
    "replay of another step": (again("cedar", 0, "check"), "is to kind 'check'"),
    "truncated": (sent(halved), "is not JSON"),
    "truncated when stored": (damaged(stored(halved)), "SHA-256"),
    "bit flipped": (sent(flipped), "ForgedAnswer"),
    "bit flipped when stored": (damaged(stored(flipped)), "SHA-256"),
    "oversized": (sent(lambda data: data + b" " * MAX_ANSWER_BYTES), f"at most {MAX_ANSWER_BYTES} are read"),
    "a terabyte": (damaged(grown), f"has {TERABYTE} bytes, at most"),
    "an update of nobody's": (signed_again(own, with_body(update=None)), "missing or malformed part"),
    "no number": (signed_again(own, with_body(seconds="nan")), "is not a number"),
    "less than nothing": (
        signed_again(own, with_body(update={"path": "", "sha256": "", "size": -1})),
        "is not an integer of at least 0",
    ),
    "another silo's update": (signed_again(own, elsewhere("cedar", "birch")), "names 'silos/birch"),
    "an earlier round's update": (signed_again(own, elsewhere("/[0-9]{6}/", "/000001/")), "as its update"),
    "none": (nothing, "contains no answer"),
}
EVERY = [*UPDATES, *ANSWERS]


def lie_of(round_: int) -> str:
    """Return the round's lie, or an empty string if the silo is honest."""
    return EVERY[round_ - FIRST_LIE] if FIRST_LIE <= round_ < FIRST_LIE + len(EVERY) else ""
