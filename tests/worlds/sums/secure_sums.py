"""A secure sum in one process, of every member and the coordinator, for tests of what is summed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.federation.contribution import Contribution, RunningSum
from models.federation.vector_form import VectorForm
from models.secure_sum import member
from models.secure_sum.cohort import announce, read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.primitives.keys import MemberKeys
from models.secure_sum.session import Session


def securely_summed(
    form: VectorForm,
    contributions: Mapping[str, Contribution[Any]],
    order: Sequence[str],
    dropped: Collection[str] = (),
) -> RunningSum[Any]:
    """Return the secure sum of the contributions of all members but the dropped ones.

    Args:
        form: of their vectors.
        contributions: of the members.
        order: in which messages arrive.
        dropped: the members that fall silent before their masked vectors.
    """
    keys = {
        name: MemberKeys(name, Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
        for name in contributions
    }
    roster = {name: each.identity.public_key() for name, each in keys.items()}
    cohort = read_cohort("job", roster, {name: announce(each, "job") for name, each in keys.items()})
    session = Session(cohort, "train-000001")
    protocol = SecureSum(session, form.layout)
    records = {}
    for name in order:
        records[name], message = member.prepare(keys[name], session)
        protocol.add_prepared(name, message)
    staying = [name for name in order if name not in dropped]
    for name in staying:
        request, blocks = protocol.mask_request(name), form.blocks(contributions[name])
        records[name], message = member.mask(keys[name], session, records[name], request, form.layout, blocks)
        protocol.add_masked(name, message)
    for name in staying:
        request = protocol.agree_request(name)
        records[name], message = member.agree(keys[name], session, records[name], request)
        protocol.add_agreed(name, message)
    return form.running_sum(protocol.total(), protocol.agreement.survivors)
