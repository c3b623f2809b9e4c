"""Signed statements: one line of canonical JSON with a signature, and bytes attached to it.

A message is a statement, a line break and the attachment. The statement has the SHA-256 of the attachment, so
it can be shown to others without it, and its signature covers both.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from models.errors import ProtocolBreach
from models.kernel.json_values import read_json
from models.secure_sum.primitives.breaches import breach
from models.secure_sum.primitives.canonical import canonical

# A session and names have at most 200 characters, of up to 12 bytes each in JSON, and the rest is a few
# hashes.
MOST_STATEMENT_BYTES = 8192
_CONTEXT = b"fedrec secure sum 1\0"


def sign(identity: Ed25519PrivateKey, facts: Mapping[str, str], attachment: bytes = b"") -> bytes:
    """Return a signed message.

    Args:
        identity: the sender's key.
        facts: what the statement says.
        attachment: the bytes attached to it.
    """
    body = {**facts, "attached": hashlib.sha256(attachment).hexdigest()}
    signature = identity.sign(_CONTEXT + canonical(body))
    return canonical({"body": body, "signature": signature.hex()}) + b"\n" + attachment


def statement_of(message: bytes) -> bytes:
    """Return the statement of a message, without the attachment."""
    return message.partition(b"\n")[0]


def read_statement(
    statement: bytes, identity: bytes, expected: Mapping[str, str], others: Collection[str] = ()
) -> Mapping[str, str]:
    """Return what a statement says, with its signature verified.

    Args:
        statement: bytes from any sender.
        identity: the raw public key (Ed25519) of the member that should have signed it.
        expected: "kind" and "member", and further facts with the values that they must have.
        others: names of the other facts; there are no more.

    Raises:
        ProtocolBreach: it is no statement, or another one than expected, or another key signed it.
    """
    if len(statement) > MOST_STATEMENT_BYTES:
        raise _breach(expected, "size", f"has a statement of more than {MOST_STATEMENT_BYTES} bytes")
    try:
        body = _verified(statement, identity)
    except ValueError as error:
        raise _breach(expected, "form", f"is no statement: {error}") from error
    except InvalidSignature as error:
        raise _breach(expected, "signature", "is not signed with the member's key") from error
    # Hundreds of votes are read at a time, so what is wrong is searched for only if something is.
    if not body.items() >= expected.items():
        part = next(part for part, value in expected.items() if body.get(part) != value)
        fault = f"is for {part} {body.get(part, '')[:80]!r}, expected {expected[part]!r}"
        raise _breach(expected, part, fault)
    if body.keys() != {*expected, *others, "attached"}:
        raise _breach(expected, "form", "has a missing or an unknown part")
    return body


def read_message(
    message: bytes, identity: bytes, expected: Mapping[str, str], others: Collection[str], size: int
) -> tuple[Mapping[str, str], bytes]:
    """Return what a message says, and its attachment.

    Args:
        message: bytes from any sender.
        identity, expected, others: as for `read_statement`.
        size: the attachment's number of bytes.

    Raises:
        ProtocolBreach: as `read_statement`, or the attachment is not the one that was signed.
    """
    if len(message) > MOST_STATEMENT_BYTES + 1 + size:
        raise _breach(expected, "size", f"has {len(message)} bytes, which is too much")
    statement, found, attachment = message.partition(b"\n")
    facts = read_statement(statement, identity, expected, others)
    if not found or len(attachment) != size:
        raise _breach(expected, "size", f"has {len(attachment)} bytes attached, expected {size}")
    if hashlib.sha256(attachment).hexdigest() != facts["attached"]:
        raise _breach(expected, "attachment", "has other bytes attached than were signed")
    return facts, attachment


# In a simulation each statement is read by many members of one process; verifying takes 0.1 ms.
@lru_cache(maxsize=1 << 12)
def _verified(statement: bytes, identity: bytes) -> Mapping[str, str]:
    found = read_json(statement)
    if not isinstance(found, dict) or set(found) != {"body", "signature"}:
        raise ValueError("it has not the two parts of one")
    body, signature = found["body"], found["signature"]
    if not isinstance(body, dict) or not all(isinstance(text, str) for text in (signature, *body.values())):
        raise ValueError("a part is of another type")
    proof = bytes.fromhex(signature)
    # Otherwise one statement would have several encodings.
    if canonical({"body": body, "signature": proof.hex()}) != statement:
        raise ValueError("it is not in the canonical form")
    Ed25519PublicKey.from_public_bytes(identity).verify(proof, _CONTEXT + canonical(body))
    return body


def _breach(expected: Mapping[str, str], part: str, fault: str) -> ProtocolBreach:
    return breach(f"member {expected['member']!r}", expected["kind"], part, fault)
