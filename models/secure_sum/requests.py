"""What the coordinator sends to members: two lines of canonical JSON, the first of which is the same for all.

A coordinator may lie, so nothing of this is signed, and members believe none of it: they verify what other
members signed or sealed, and check names and numbers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import lru_cache
from typing import Any, TypeGuard

from models.kernel.json_values import read_json
from models.secure_sum.primitives.breaches import COORDINATOR, breach
from models.secure_sum.primitives.canonical import canonical
from models.secure_sum.primitives.statements import MOST_STATEMENT_BYTES
from models.secure_sum.seeds import SHARES_BYTES
from models.secure_sum.session import Agreement, Session

MASK, AGREE, REVEAL = "mask", "agree", "reveal"
_MOST_OTHER_BYTES = 1 << 16


def shared_line(session: Session, kind: str, content: object) -> bytes:
    """Return the line of a request that is the same for all members.

    Args:
        session: the sum.
        kind: "mask", "agree" or "reveal".
        content: JSON values.
    """
    return canonical({"kind": kind, "session": session.digest, "content": content})


def mask_request(shared: bytes, statements: Mapping[str, bytes]) -> bytes:
    """Return the request for a masked vector.

    Args:
        shared: `shared_line` of kind "mask" with the names of all that prepared, sorted.
        statements: neighbour that prepared -> its statement of that.
    """
    return _request(shared, prepared=_as_text(statements))


def agree_request(shared: bytes, sealed: Mapping[str, bytes], masked: Mapping[str, bytes]) -> bytes:
    """Return the request to vote.

    Args:
        shared: `shared_line` of kind "agree" with the names of the survivors, sorted.
        sealed: neighbour that prepared -> the shares that it sealed for the member.
        masked: neighbour that survived -> its statement of its masked vector.
    """
    return _request(shared, sealed=_as_hex(sealed), masked=_as_text(masked))


def reveal_request(shared: bytes, sealed: Mapping[str, bytes]) -> bytes:
    """Return the request to reveal.

    Args:
        shared: `shared_line` of kind "reveal" with name -> statement of votes.
        sealed: neighbour that prepared -> the shares that it sealed for the member.
    """
    return _request(shared, sealed=_as_hex(sealed))


def read_mask_request(session: Session, name: str, data: bytes) -> tuple[tuple[str, ...], dict[str, bytes]]:
    """Return who prepared, and the statements of those of them that are neighbours.

    Raises:
        ProtocolBreach: it is no request of this session for this member.
    """
    content, own = _read(session, MASK, data, {"prepared"})
    prepared = _names(session, content, MASK, "prepared")
    around = Agreement(session, prepared).around(name)
    return prepared, _from_text(own["prepared"], around, MASK)


def read_agree_request(
    session: Session, prepared: tuple[str, ...], name: str, data: bytes
) -> tuple[Agreement, dict[str, bytes], dict[str, bytes]]:
    """Return what to agree on, the shares that neighbours sealed, and their statements of their vectors.

    Raises:
        ProtocolBreach: it is no request of this session for this member.
    """
    content, own = _read(session, AGREE, data, {"sealed", "masked"})
    agreement = Agreement(session, prepared, _names(session, content, AGREE, "survivors"))
    sealed = _from_hex(own["sealed"], agreement.around(name), AGREE)
    return agreement, sealed, _from_text(own["masked"], agreement.survivors_around(name), AGREE)


def read_reveal_request(
    agreement: Agreement, name: str, data: bytes
) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Return the votes for the agreement, not verified, and the shares that neighbours sealed for the member.

    Raises:
        ProtocolBreach: it is no request of this session for this member.
    """
    votes, own = _read(agreement.session, REVEAL, data, {"sealed"})
    if not _is_text_by_name(votes):
        raise breach(COORDINATOR, REVEAL, "votes", "has votes in another form")
    return _from_text(votes, votes, REVEAL), _from_hex(own["sealed"], agreement.around(name), REVEAL)


def _request(shared: bytes, **own: Mapping[str, str]) -> bytes:
    return shared + b"\n" + canonical(own)


def _as_text(statements: Mapping[str, bytes]) -> dict[str, str]:
    return {name: statement.decode() for name, statement in statements.items()}


def _as_hex(sealed: Mapping[str, bytes]) -> dict[str, str]:
    return {name: shares.hex() for name, shares in sealed.items()}


def _read(
    session: Session, kind: str, data: bytes, parts: Collection[str]
) -> tuple[Any, dict[str, dict[str, str]]]:
    most = _MOST_OTHER_BYTES + 2 * MOST_STATEMENT_BYTES * len(session.cohort.names)
    if len(data) > most:
        raise breach(COORDINATOR, kind, "size", f"has {len(data)} bytes, expected at most {most}")
    first, _, second = data.partition(b"\n")
    try:
        shared, own = _shared(first), read_json(second)
    except ValueError as error:
        raise breach(COORDINATOR, kind, "form", f"is not two lines of JSON: {error}") from error
    if not (
        isinstance(shared, dict)
        and set(shared) == {"kind", "session", "content"}
        and isinstance(shared["kind"], str)
        and isinstance(shared["session"], str)
        and isinstance(own, dict)
        and set(own) == set(parts)
        and all(_is_text_by_name(part) for part in own.values())
    ):
        raise breach(COORDINATOR, kind, "form", "has other parts than a request")
    for part, value in (("kind", kind), ("session", session.digest)):
        if shared[part] != value:
            fault = f"is for {part} {shared[part][:80]!r}, expected {value!r}"
            raise breach(COORDINATOR, kind, part, fault)
    return shared["content"], own


# In a simulation each member of a process reads the same line. Nobody changes what this returns.
@lru_cache(maxsize=4)
def _shared(line: bytes) -> Any:
    return read_json(line)


def _names(session: Session, value: object, kind: str, part: str) -> tuple[str, ...]:
    members = session.cohort.identities
    if (
        not isinstance(value, list)
        or not all(isinstance(name, str) and name in members for name in value)
        or value != sorted(set(value))
    ):
        raise breach(COORDINATOR, kind, part, "does not list members of the session, each once and sorted")
    return tuple(value)


def _from_text(found: Mapping[str, str], owners: Collection[str], kind: str) -> dict[str, bytes]:
    if set(found) != set(owners):
        raise breach(COORDINATOR, kind, "neighbours", "has not one part from each neighbour that it concerns")
    # JSON can have halves of surrogate pairs, which no encoding has; statements are ASCII anyway.
    return {name: text.encode("ascii", errors="replace") for name, text in found.items()}


def _from_hex(found: Mapping[str, str], owners: Collection[str], kind: str) -> dict[str, bytes]:
    try:
        sealed = {
            name: bytes.fromhex(text.decode()) for name, text in _from_text(found, owners, kind).items()
        }
    except ValueError as error:
        raise breach(COORDINATOR, kind, "shares", f"has sealed shares in another form: {error}") from error
    if any(len(each) != SHARES_BYTES for each in sealed.values()):
        raise breach(COORDINATOR, kind, "shares", f"has sealed shares that are not {SHARES_BYTES} bytes long")
    return sealed


def _is_text_by_name(value: object) -> TypeGuard[dict[str, str]]:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
