"""The members of a job with their public keys, which all of them and the coordinator must see alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import InvalidInput
from models.secure_sum.graph import FEWEST
from models.secure_sum.primitives.breaches import breach
from models.secure_sum.primitives.canonical import digest
from models.secure_sum.primitives.keys import KEY_BYTES, MemberKeys, is_usable
from models.secure_sum.primitives.statements import read_message, sign

LONGEST_NAME = 200


@dataclass(frozen=True)
class Cohort:
    """The members of a job.

    Attributes:
        job: id of the job.
        names: the members, sorted.
        identities: name -> raw public key (Ed25519) that verifies what the member signs.
        encryption_keys: name -> raw public key (X25519) of the member for this job.
        digest: SHA-256 of all of that. Members with different views of the cohort have different digests.
    """

    job: str
    identities: Mapping[str, bytes]
    encryption_keys: Mapping[str, bytes]
    names: tuple[str, ...] = field(init=False)
    digest: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(sorted(self.identities)))
        keys = [[name, self.identities[name].hex(), self.encryption_keys[name].hex()] for name in self.names]
        object.__setattr__(self, "digest", digest(["cohort", self.job, keys]))


def announce(member: MemberKeys, job: str) -> bytes:
    """Return the message that tells the others a member's encryption key for a job."""
    key = member.encryption.public_key().public_bytes_raw()
    return sign(member.identity, {**_expected(job, member.name), "encryption_key": key.hex()})


def read_cohort(
    job: str, roster: Mapping[str, Ed25519PublicKey], announcements: Mapping[str, bytes]
) -> Cohort:
    """Return the cohort of those that announced their keys.

    Args:
        job: id of the job.
        roster: name -> public key of all that may be members. A member takes it from its owner, never from
            the coordinator, who could else invent members.
        announcements: name -> what `announce` returned there.

    Raises:
        InvalidInput: there are fewer than three members, or a name is empty or too long.
        ProtocolBreach: a member is not in the roster, or an announcement is not its own for this job.
    """
    if len(announcements) < FEWEST:
        raise InvalidInput(
            f"The cohort of job {job} has {len(announcements)} members, expected at least {FEWEST}.",
            next_step="Wait for more members: with two, each learns the other's values from the sum.",
        )
    for name in (job, *announcements):
        if not 1 <= len(name) <= LONGEST_NAME:
            raise InvalidInput(
                f"The name {name[:80]!r} has {len(name)} characters, expected 1 to {LONGEST_NAME}."
            )
    identities, keys = {}, {}
    for name, message in announcements.items():
        expected = _expected(job, name)
        if name not in roster:
            raise breach(f"member {name!r}", expected["kind"], "member", "is from nobody in the roster")
        identities[name] = roster[name].public_bytes_raw()
        facts, _ = read_message(message, identities[name], expected, ("encryption_key",), size=0)
        keys[name] = public_key(facts["encryption_key"], name, expected["kind"])
    return Cohort(job, identities, keys)


def public_key(text: str, name: str, kind: str) -> bytes:
    """Return a public key (X25519) of a member from its hexadecimal digits.

    Raises:
        ProtocolBreach: it is not a key with which a secret can be agreed.
    """
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES or key.hex() != text or not is_usable(key):
        raise breach(f"member {name!r}", kind, "key", "has a key with which no secret can be agreed")
    return key


def _expected(job: str, name: str) -> dict[str, str]:
    return {"kind": "announced", "member": name, "job": job}
