"""A member's four moments in a secure sum: prepare, mask, agree, reveal.

Each returns the member's record, which its caller writes down durably *before* it sends the message. A
repeated request gets its answer again. A request that differs from an answered one is refused: two masked
vectors, or openings of two sets of survivors, would give a summand away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from models.kernel.bit_packing import Unsigned
from models.secure_sum.messages import (
    Prepared,
    read_public,
    require_masked,
    require_votes,
    view,
    write_agreed,
    write_masked,
    write_prepared,
    write_revealed,
)
from models.secure_sum.openings import Opening
from models.secure_sum.primitives.breaches import COORDINATOR, breach
from models.secure_sum.primitives.keys import MemberKeys
from models.secure_sum.primitives.sharing import split
from models.secure_sum.quick_opening import write_quick
from models.secure_sum.record import MemberRecord
from models.secure_sum.requests import (
    AGREE,
    MASK,
    REVEAL,
    read_agree_request,
    read_mask_request,
    read_reveal_request,
)
from models.secure_sum.seeds import (
    Seeds,
    SeedShares,
    commitment,
    mask_key,
    pair_mask,
    seal_shares,
    self_mask,
    sign_of,
    unseal_shares,
)
from models.secure_sum.session import Agreement, Session
from models.secure_sum.vectors import Layout, VectorSum


def prepare(member: MemberKeys, session: Session) -> tuple[MemberRecord, bytes]:
    """Return a new record with fresh seeds, and the message that shares them with the neighbours.

    A caller prepares a session id once in a job. It refuses one of which it has a record, also if the cohort
    differs: two sums of the same vector over cohorts that differ in one member reveal that member's vector.
    """
    seeds = Seeds.fresh()
    around, needed = session.neighbours[member.name], session.shares_needed(member.name)
    shares = zip(split(seeds.mask, needed, len(around)), split(seeds.own, needed, len(around)), strict=True)
    sealed = [
        seal_shares(member, session, other, SeedShares(mask, own))
        for other, (mask, own) in zip(around, shares, strict=True)
    ]
    public = Prepared(
        mask_key(session, member.name, seeds.mask).public_key().public_bytes_raw(),
        commitment(session, member.name, seeds.own),
    )
    message = write_prepared(member, session, public, sealed)
    return MemberRecord(session.digest, seeds, message), message


def mask(
    member: MemberKeys,
    session: Session,
    record: MemberRecord,
    request: bytes,
    layout: Layout,
    blocks: Sequence[Unsigned],
    fewest: int = 0,
) -> tuple[MemberRecord, bytes]:
    """Return the record with what was masked, and the message with the masked vector.

    Args:
        member: the member.
        session: the sum.
        record: what `prepare` returned.
        request: what the coordinator's `mask_request` returned.
        layout: of the vector, the same for all members.
        blocks: the vector: uint32 for widths up to 32 bits, else uint64; values are taken modulo 2^width.
        fewest: the least number of survivors that the member will vote for, such as those that share a noise.

    Raises:
        ProtocolBreach: too few prepared, a statement is not the neighbour's own, or the member has masked
            another vector or with others.
        InvalidInput: the blocks are not those of the layout.
    """
    record.require(session)
    prepared, statements = read_mask_request(session, member.name, request)
    if not session.suffices(prepared, member.name):
        raise breach(COORDINATOR, MASK, "prepared", f"lists {len(prepared)} members, which are too few here")
    vector, form = VectorSum(layout), layout.digest
    vector.add(blocks)
    vector.add_mask(self_mask(session, member.name, record.seeds.own, form))
    private = mask_key(session, member.name, record.seeds.mask)
    for other, statement in statements.items():
        public = read_public(session, other, statement).mask_key
        key = pair_mask(session, private, public, (member.name, other), form)
        vector.add_mask(key, times=sign_of(member.name, other))
    packed = vector.packed()
    # The masked vector depends on nothing but the record and what was asked, so equal requests have equal
    # answers.
    masked = hashlib.sha256(packed).hexdigest()
    if record.masked not in {None, masked}:
        raise breach(
            COORDINATOR, MASK, "prepared", "asks to mask again, another vector or with other members"
        )
    seen = view(prepared, layout)
    message = write_masked(member, session, seen, packed)
    fewest = max(fewest, record.fewest)
    return replace(record, prepared=prepared, view=seen, masked=masked, fewest=fewest), message


def agree(
    member: MemberKeys, session: Session, record: MemberRecord, request: bytes
) -> tuple[MemberRecord, bytes]:
    """Return the record with the set of survivors, and the member's vote for it.

    In a complete graph the vote also has the member's opening, sealed so that it opens if all survivors vote
    alike.

    Args:
        member: the member.
        session: the sum.
        record: what `mask` returned.
        request: what the coordinator's `agree_request` returned.

    Raises:
        ProtocolBreach: the member has not masked, is no survivor, too few survive, or it voted for others.
    """
    record.require(session)
    if record.masked is None:
        raise breach(COORDINATOR, AGREE, "survivors", "comes before the member's masked vector was requested")
    agreement, sealed, masked = read_agree_request(session, record.prepared, member.name, request)
    survivors = agreement.survivors
    if not set(survivors) <= set(record.prepared) or not session.suffices(survivors, member.name):
        raise breach(
            COORDINATOR,
            AGREE,
            "survivors",
            f"lists {len(survivors)} survivors: too few, not all of them prepared, or not the member itself",
        )
    if len(survivors) < record.fewest:
        raise breach(
            COORDINATOR,
            AGREE,
            "survivors",
            f"lists {len(survivors)} survivors, and the member votes for at least {record.fewest}",
        )
    if record.survivors not in {None, survivors}:
        raise breach(
            COORDINATOR, AGREE, "survivors", "lists other survivors than the member voted for before"
        )
    # A survivor that was shown another list may have masked with members only that dropped out since.
    require_masked(session, record.view, masked)
    quick = b""
    if session.complete:
        dropped = agreement.dropped_around(member.name)
        opening = _opening(member, record, agreement, {name: sealed[name] for name in dropped})
        quick = write_quick(member, agreement, opening)
    return replace(record, survivors=survivors), write_agreed(member, agreement, quick)


def reveal(member: MemberKeys, session: Session, record: MemberRecord, request: bytes) -> bytes:
    """Return the message that opens the agreement that the member voted for.

    Args:
        member: the member.
        session: the sum.
        record: what `agree` returned.
        request: what the coordinator's `reveal_request` returned.

    Raises:
        ProtocolBreach: the member has not voted, or too few survivors voted for the same.
    """
    record.require(session)
    if record.survivors is None:
        raise breach(COORDINATOR, REVEAL, "votes", "comes before the member's vote was requested")
    agreement = Agreement(session, record.prepared, record.survivors)
    votes, sealed = read_reveal_request(agreement, member.name, request)
    if not set(votes) <= set(agreement.survivors) or len(votes) < session.quorum:
        raise breach(
            COORDINATOR, REVEAL, "votes", f"has {len(votes)} votes, which are too few or not by survivors"
        )
    require_votes(agreement, votes)
    return write_revealed(member, agreement, _opening(member, record, agreement, sealed))


def _opening(
    member: MemberKeys,
    record: MemberRecord,
    agreement: Agreement,
    sealed: Mapping[str, bytes],
) -> Opening:
    survivors = set(agreement.survivors)
    shares = {}
    for owner, data in sealed.items():
        opened = unseal_shares(member, agreement.session, owner, data)
        # A neighbour that sealed nonsense spoils its own recovery only, so it cannot stop the sum of the
        # others.
        if opened is not None:
            shares[owner] = opened.own if owner in survivors else opened.mask
    return Opening(record.seeds.own, shares)
