"""A cohort has the keys that its members announced, and nobody else's."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.errors import InvalidInput, ProtocolBreach
from models.secure_sum.cohort import announce, read_cohort
from models.secure_sum.primitives.keys import MemberKeys, agree, derive
from models.secure_sum.primitives.statements import sign
from tests.models.secure_sum.sums import JOB, changed, cohort_of, new_member, new_members

MEMBERS = new_members(4)
ROSTER = {name: member.identity.public_key() for name, member in MEMBERS.items()}
ANNOUNCED = {name: announce(member, JOB) for name, member in MEMBERS.items()}


def test_a_cohort_has_the_announced_keys_in_the_order_of_names() -> None:
    cohort = read_cohort(JOB, ROSTER, dict(reversed(ANNOUNCED.items())))
    assert cohort.names == tuple(sorted(MEMBERS))
    assert cohort == read_cohort(
        JOB, {**ROSTER, "other": new_member("other").identity.public_key()}, ANNOUNCED
    )
    for name, member in MEMBERS.items():
        assert cohort.encryption_keys[name] == member.encryption.public_key().public_bytes_raw()
        assert cohort.identities[name] == member.identity.public_key().public_bytes_raw()


def test_cohorts_with_other_members_keys_or_jobs_have_other_digests() -> None:
    fewer = {name: ANNOUNCED[name] for name in list(ANNOUNCED)[:3]}
    cohorts = [
        read_cohort(JOB, ROSTER, ANNOUNCED),
        read_cohort(JOB, ROSTER, fewer),
        cohort_of(MEMBERS, "another job"),
        cohort_of({**MEMBERS, "silo-000": new_member("silo-000")}),
        cohort_of({**MEMBERS, "silo-000": MemberKeys("silo-000", MEMBERS["silo-000"].identity, new_key())}),
    ]
    assert len({cohort.digest for cohort in cohorts}) == len(cohorts)


def new_key() -> X25519PrivateKey:
    return X25519PrivateKey.generate()


def test_two_members_are_no_cohort() -> None:
    with pytest.raises(InvalidInput, match="has 2 members, expected at least 3"):
        read_cohort(JOB, ROSTER, {name: ANNOUNCED[name] for name in list(ANNOUNCED)[:2]})


@pytest.mark.parametrize("length", [0, 201])
def test_names_have_at_most_200_characters(length: int) -> None:
    with pytest.raises(InvalidInput, match=f"has {length} characters, expected 1 to 200"):
        read_cohort(JOB, ROSTER, {**ANNOUNCED, "x" * length: b""})


def test_a_member_that_the_coordinator_invented_is_refused() -> None:
    invented = announce(new_member("invented"), JOB)
    with pytest.raises(ProtocolBreach, match="'announced' of member 'invented' is from nobody in the roster"):
        read_cohort(JOB, ROSTER, {**ANNOUNCED, "invented": invented})


@pytest.mark.parametrize(
    ("message", "fault"),
    [
        (announce(MEMBERS["silo-001"], "another job"), "is for job 'another job', expected 'job'"),
        (announce(new_member("silo-001"), JOB), "is not signed with the member's key"),
        (ANNOUNCED["silo-002"], "is not signed with the member's key"),
        (
            announce(MemberKeys("silo-002", MEMBERS["silo-001"].identity, new_key()), JOB),
            "is for member 'silo-002'",
        ),
        (ANNOUNCED["silo-001"] + b"x", "has 1 bytes attached, expected 0|which is too much"),
        (ANNOUNCED["silo-001"][:-1], "has 0 bytes attached, expected 0"),
        (b"", "is no statement"),
    ],
)
def test_an_announcement_of_another_is_refused(message: bytes, fault: str) -> None:
    with pytest.raises(ProtocolBreach, match=fault):
        read_cohort(JOB, ROSTER, {**ANNOUNCED, "silo-001": message})


def test_an_announcement_with_any_bit_flipped_is_refused() -> None:
    for place in range(8 * len(ANNOUNCED["silo-001"])):
        with pytest.raises(ProtocolBreach, match="'announced' of member 'silo-001'"):
            read_cohort(JOB, ROSTER, {**ANNOUNCED, "silo-001": changed(ANNOUNCED["silo-001"], place)})


def test_a_key_of_small_order_is_refused() -> None:
    member = MEMBERS["silo-001"]
    # The u-coordinate 0 gives the secret 0 with every key (RFC 7748, section 6.1).
    facts = {"kind": "announced", "member": member.name, "job": JOB, "encryption_key": "00" * 32}
    with pytest.raises(ProtocolBreach, match="has a key with which no secret can be agreed"):
        read_cohort(JOB, ROSTER, {**ANNOUNCED, "silo-001": sign(member.identity, facts)})


def test_two_members_agree_on_one_secret_and_keep_it() -> None:
    one, two = MEMBERS["silo-000"], MEMBERS["silo-001"]
    publics = [member.encryption.public_key().public_bytes_raw() for member in (one, two)]
    assert one.agreed(publics[1]) == two.agreed(publics[0]) == agree(one.encryption, publics[1])
    assert one.agreed(publics[1]) is one.agreed(publics[1])


def test_derived_keys_differ_by_secret_purpose_and_every_part_of_the_context() -> None:
    cases = [
        (b"a", "x", "1", "2"),
        (b"b", "x", "1", "2"),
        (b"a", "y", "1", "2"),
        (b"a", "x", "12"),
        (b"a", "x", "1", "2", ""),
        (b"a", "x1", "2"),
    ]
    assert len({derive(*case) for case in cases}) == len(cases)
    assert derive(*cases[0]) == derive(*cases[0])
    assert len(derive(b"a", "x", size=16)) == 16


def test_no_key_is_shown() -> None:
    member = MEMBERS["silo-000"]
    member.agreed(MEMBERS["silo-001"].encryption.public_key().public_bytes_raw())
    assert repr(member) == "MemberKeys(name='silo-000')"
