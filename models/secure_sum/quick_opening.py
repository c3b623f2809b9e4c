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
from models.secure_sum.session import Agreement

TOKEN_BYTES = 16


def quick_bytes(agreement: Agreement, name: str) -> int:
    """Return the number of bytes of a member's tokens and sealed opening; 0 unless the graph is complete."""
    if not agreement.session.complete:
        return 0
    tokens = len(agreement.survivors_around(name)) * TOKEN_BYTES
    return tokens + OVERHEAD_BYTES + opening_bytes(len(agreement.dropped_around(name)))


def write_quick(member: MemberKeys, agreement: Agreement, opening: Opening) -> bytes:
    """Return a member's tokens for the other survivors, and its opening sealed under theirs."""
    others = agreement.survivors_around(member.name)
    given = [_token(member, agreement, other, sender=member.name, to=other) for other in others]
    taken = [_token(member, agreement, other, sender=other, to=member.name) for other in others]
    data = opening.to_bytes(agreement.dropped_around(member.name))
    key, context = _sealing(agreement, member.name, taken)
    return b"".join(given) + seal(key, data, context)


def read_quick(agreement: Agreement, sent: Mapping[str, bytes]) -> dict[str, Opening]:
    """Return the openings that can be unsealed: those of all survivors, if all voted and none lied.

    Args:
        agreement: that all voted for, of a session whose graph is complete.
        sent: survivor -> what `write_quick` returned there, of `quick_bytes` bytes.
    """
    tokens: dict[str, list[bytes]] = {name: [] for name in agreement.survivors}
    sealed = {}
    for name in agreement.survivors:
        others = agreement.survivors_around(name)
        for place, other in enumerate(others):
            tokens[other].append(sent[name][place * TOKEN_BYTES : (place + 1) * TOKEN_BYTES])
        sealed[name] = sent[name][len(others) * TOKEN_BYTES :]
    openings = {}
    for name in agreement.survivors:
        key, context = _sealing(agreement, name, tokens[name])
        data = unseal(key, sealed[name], context)
        opening = None if data is None else Opening.read(data, agreement.dropped_around(name))
        if opening is not None:
            openings[name] = opening
    return openings


def _token(member: MemberKeys, agreement: Agreement, other: str, *, sender: str, to: str) -> bytes:
    secret = member.agreed(agreement.session.cohort.encryption_keys[other])
    return derive(secret, "token", agreement.digest, sender, to, size=TOKEN_BYTES)


def _sealing(agreement: Agreement, name: str, tokens: list[bytes]) -> tuple[bytes, bytes]:
    """Return the key of all other survivors' tokens, in the order of their names, and the context."""
    return derive(b"".join(tokens), "quick opening", agreement.digest, name), agreement.digest.encode()
