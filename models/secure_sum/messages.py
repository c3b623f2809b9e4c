"""What members send to the coordinator: the kinds of messages, their parts, and their strict readers.

| kind | says | attached |
|---|---|---|
| prepared | public mask key, commitment to the self seed | the sealed shares for each neighbour |
| masked | digest of who prepared and of the layout | the masked vector, packed |
| agreed | digest of who prepared and whose vectors arrived | in a complete graph, a sealed opening |
| revealed | the same digest | the opening |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from models.secure_sum.cohort import public_key
from models.secure_sum.openings import Opening, opening_bytes
from models.secure_sum.primitives.breaches import breach
from models.secure_sum.primitives.canonical import digest
from models.secure_sum.primitives.keys import MemberKeys
from models.secure_sum.primitives.statements import read_message, read_statement, sign
from models.secure_sum.quick_opening import quick_bytes
from models.secure_sum.seeds import SHARES_BYTES
from models.secure_sum.session import Agreement, Session
from models.secure_sum.vectors import Layout

PREPARED, MASKED, AGREED, REVEALED = "prepared", "masked", "agreed", "revealed"
_PREPARED_FACTS = ("mask_key", "commitment")


@dataclass(frozen=True)
class Prepared:
    """The public part of what a member prepared.

    Attributes:
        mask_key: raw public key (X25519) with which neighbours agree on masks.
        commitment: shows whether a seed is the member's self seed.
    """

    mask_key: bytes
    commitment: str


def expected(session: Session, name: str, kind: str) -> dict[str, str]:
    """Return what a member's statement must say to belong to a session."""
    return {"kind": kind, "member": name, "session": session.id, "cohort": session.cohort.digest}


def write_prepared(member: MemberKeys, session: Session, public: Prepared, sealed: list[bytes]) -> bytes:
    """Return the message with the shares sealed for each neighbour, in the order of their names."""
    facts = {"mask_key": public.mask_key.hex(), "commitment": public.commitment}
    return sign(member.identity, {**expected(session, member.name, PREPARED), **facts}, b"".join(sealed))


def read_prepared(session: Session, name: str, message: bytes) -> tuple[Prepared, dict[str, bytes]]:
    """Return what a member prepared: the public part, and neighbour -> the shares sealed for it.

    Raises:
        ProtocolBreach: the message is not the member's for this session.
    """
    around = session.neighbours[name]
    _, attachment = read_message(
        message,
        session.cohort.identities[name],
        expected(session, name, PREPARED),
        _PREPARED_FACTS,
        size=SHARES_BYTES * len(around),
    )
    public = read_public(session, name, message.partition(b"\n")[0])
    parts = [attachment[start : start + SHARES_BYTES] for start in range(0, len(attachment), SHARES_BYTES)]
    return public, dict(zip(around, parts, strict=True))


def read_public(session: Session, name: str, statement: bytes) -> Prepared:
    """Return the public part of what a member prepared from the statement alone.

    Raises:
        ProtocolBreach: the statement is not the member's for this session.
    """
    facts = read_statement(
        statement, session.cohort.identities[name], expected(session, name, PREPARED), _PREPARED_FACTS
    )
    return Prepared(public_key(facts["mask_key"], name, PREPARED), facts["commitment"])


def view(prepared: tuple[str, ...], layout: Layout) -> str:
    """Return the digest of how a member masks: with whom, and a vector of which layout."""
    return digest(["view", prepared, layout.digest])


def write_masked(member: MemberKeys, session: Session, seen: str, packed: bytes) -> bytes:
    """Return the message with a masked vector; `seen` is the member's `view`."""
    return sign(member.identity, _masked(session, member.name, seen), attachment=packed)


def read_masked(session: Session, name: str, seen: str, message: bytes, size: int) -> bytes:
    """Return a member's masked vector, packed, of `size` bytes.

    Raises:
        ProtocolBreach: the message is not the member's for this session and view.
    """
    return read_message(message, session.cohort.identities[name], _masked(session, name, seen), (), size)[1]


def require_masked(session: Session, seen: str, statements: Mapping[str, bytes]) -> None:
    """Raise `ProtocolBreach` unless each statement says that its member masked with this view.

    Args:
        session: the sum.
        seen: the view.
        statements: name -> the statement of what `write_masked` returned there.
    """
    for name, statement in statements.items():
        read_statement(statement, session.cohort.identities[name], _masked(session, name, seen))


def write_agreed(member: MemberKeys, agreement: Agreement, quick: bytes) -> bytes:
    """Return the message that votes for an agreement; `quick` is the sealed opening, or empty."""
    return sign(member.identity, _agreeing(agreement, member.name, AGREED), attachment=quick)


def read_agreed(agreement: Agreement, name: str, message: bytes) -> bytes:
    """Return the sealed opening of a vote for an agreement.

    Raises:
        ProtocolBreach: the message is not the member's vote for this agreement.
    """
    size = quick_bytes(agreement, name)
    wanted = _agreeing(agreement, name, AGREED)
    return read_message(message, agreement.session.cohort.identities[name], wanted, (), size=size)[1]


def require_votes(agreement: Agreement, votes: Mapping[str, bytes]) -> None:
    """Raise `ProtocolBreach` unless each statement is the vote of the member that it stands for.

    Args:
        agreement: that they should vote for.
        votes: survivor -> the statement of what `write_agreed` returned there.
    """
    identities, wanted = agreement.session.cohort.identities, _agreeing(agreement, "", AGREED)
    signed = tuple((name, identities[name], statement) for name, statement in votes.items())
    _require_signed(tuple(wanted.items()), signed)


# In a simulation each member of a process gets the same votes. What is refused is not remembered.
@lru_cache(maxsize=4)
def _require_signed(wanted: tuple[tuple[str, str], ...], votes: tuple[tuple[str, bytes, bytes], ...]) -> None:
    """Raise `ProtocolBreach` unless each statement says that and is signed.

    Args:
        wanted: what a statement says, besides its member's name.
        votes: (name, raw public key, statement) of each member.
    """
    for name, identity, statement in votes:
        read_statement(statement, identity, {**dict(wanted), "member": name})


def write_revealed(member: MemberKeys, agreement: Agreement, opening: Opening) -> bytes:
    """Return the message that opens a member's part of an agreement."""
    return sign(
        member.identity,
        _agreeing(agreement, member.name, REVEALED),
        attachment=opening.to_bytes(agreement.around(member.name)),
    )


def read_revealed(agreement: Agreement, name: str, message: bytes) -> Opening:
    """Return a member's opening.

    Raises:
        ProtocolBreach: the message is not the member's for this agreement.
    """
    owners = agreement.around(name)
    wanted = _agreeing(agreement, name, REVEALED)
    size = opening_bytes(len(owners))
    data = read_message(message, agreement.session.cohort.identities[name], wanted, (), size=size)[1]
    opening = Opening.read(data, owners)
    if opening is None:
        raise breach(f"member {name!r}", REVEALED, "opening", "has an opening in another form")
    return opening


def _masked(session: Session, name: str, seen: str) -> dict[str, str]:
    return {**expected(session, name, MASKED), "view": seen}


def _agreeing(agreement: Agreement, name: str, kind: str) -> dict[str, str]:
    return {**expected(agreement.session, name, kind), "agreement": agreement.digest}
