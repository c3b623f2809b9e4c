"""Openings that travel with the votes, sealed so that only the votes of all survivors together unseal them.

With its vote for an agreement each member sends every other survivor's token for it, and its own opening
under a key that is derived from all tokens *for itself*. The token of w for u is derived from the secret of u
and w and from the agreement. So the coordinator unseals the opening of an honest u only if every honest
survivor voted for the agreement that u voted for; the argument in `__init__.py` says why that is safe. It
saves one exchange of messages whenever nobody fails between the masked vectors and the votes.

It is done in complete graphs only. In others a member has tokens of its neighbours alone, and a coordinator
that shows one set of survivors to a neighbourhood and another one to the rest could unseal openings of both.
"""

from __future__ import annotations

from collections.abc import Mapping

from models.secure_sum.openings import Opening, opening_bytes
from models.secure_sum.primitives.keys import MemberKeys, derive
from models.secure_sum.primitives.sealing import OVERHEAD_BYTES, seal, unseal
from models.secure_sum.session import Agreement, Session

TOKEN_BYTES = 16


def quick_bytes(session: Session, name: str, agreement: Agreement) -> int:
    """Return the number of bytes of a member's tokens and sealed opening; 0 unless the graph is complete."""
    if not session.complete:
        return 0
    tokens = len(agreement.survivors_around(session, name)) * TOKEN_BYTES
    return tokens + OVERHEAD_BYTES + opening_bytes(len(agreement.dropped_around(session, name)))


def write_quick(member: MemberKeys, session: Session, agreement: Agreement, opening: Opening) -> bytes:
    """Return a member's tokens for the other survivors, and its opening sealed under theirs."""
    text = agreement.digest_in(session)
    others = agreement.survivors_around(session, member.name)
    given = [_token(member, session, other, sender=member.name, to=other, agreement=text) for other in others]
    taken = [_token(member, session, other, sender=other, to=member.name, agreement=text) for other in others]
    data = opening.to_bytes(agreement.dropped_around(session, member.name))
    return b"".join(given) + seal(_key(session, member.name, text, taken), data, text.encode())


def read_quick(session: Session, agreement: Agreement, sent: Mapping[str, bytes]) -> dict[str, Opening]:
    """Return the openings that can be unsealed: those of all survivors, if all voted and none lied.

    Args:
        session: a session whose graph is complete.
        agreement: that all voted for.
        sent: survivor -> what `write_quick` returned there, of `quick_bytes` bytes.
    """
    text = agreement.digest_in(session)
    tokens: dict[str, list[bytes]] = {name: [] for name in agreement.survivors}
    sealed = {}
    for name in agreement.survivors:
        others = agreement.survivors_around(session, name)
        for place, other in enumerate(others):
            tokens[other].append(sent[name][place * TOKEN_BYTES : (place + 1) * TOKEN_BYTES])
        sealed[name] = sent[name][len(others) * TOKEN_BYTES :]
    openings = {}
    for name in agreement.survivors:
        data = unseal(_key(session, name, text, tokens[name]), sealed[name], text.encode())
        opening = None if data is None else Opening.read(data, agreement.dropped_around(session, name))
        if opening is not None:
            openings[name] = opening
    return openings


def _token(
    member: MemberKeys, session: Session, other: str, *, sender: str, to: str, agreement: str
) -> bytes:
    secret = member.agreed(session.cohort.encryption_keys[other])
    return derive(secret, "token", session.digest, sender, to, agreement, size=TOKEN_BYTES)


def _key(session: Session, name: str, agreement: str, tokens: list[bytes]) -> bytes:
    """Return the key of all other survivors' tokens, in the order of their names."""
    return derive(b"".join(tokens), "quick opening", session.digest, name, agreement)
