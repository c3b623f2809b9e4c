"""A silo in secure sums: it answers each request once, whatever the coordinator asks and whatever crashes."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from models.errors import CorruptArtifact, EgressRefused, ProtocolBreach
from models.kernel.metric import Metric
from models.secure_sum.cohort import read_cohort
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.primitives.statements import statement_of
from models.secure_sum.session import Session
from tasks.clients.sum_member import SumMember, SumRules
from tasks.messages.sum_orders import SumOrder
from tests.worlds.sums.silo_sums import SUM, USERS, SiloSums

ALL = ("ash", "birch", "cedar", "elm")
THREE = ALL[:3]


@pytest.fixture
def silos(tmp_path: Path) -> SiloSums:
    return SiloSums(tmp_path)


def test_silos_that_restart_before_each_answer_make_the_sum(silos: SiloSums) -> None:
    protocol = silos.masked(ALL)
    for name in ALL:
        protocol.add_agreed(name, silos.member(name, ALL, protocol.agree_request(name)).agree())
    assert not protocol.needs_reveal
    found = silos.form.running_sum(protocol.total(), ALL)
    assert found.metrics == {USERS: Metric(1.0 + 2.0 + 3.0 + 4.0, 4.0)}


def test_what_one_leaves_open_the_others_reveal(silos: SiloSums) -> None:
    protocol = silos.masked(ALL)
    for name in THREE:
        protocol.add_agreed(name, silos.member(name, ALL, protocol.agree_request(name)).agree())
    assert protocol.needs_reveal
    for name in THREE:
        protocol.add_revealed(name, silos.member(name, ALL, protocol.reveal_request(name)).reveal())
    assert silos.form.running_sum(protocol.total(), ALL).metrics == {USERS: Metric(10.0, 4.0)}


def test_a_repeated_request_gets_the_same_bytes(silos: SiloSums) -> None:
    first = silos.member("ash", ALL).prepare()
    assert silos.member("ash", ALL).prepare() == first
    assert silos.member("ash").announce() == silos.announcements["ash"]
    protocol = silos.masked(ALL)
    request = protocol.mask_request("ash")
    assert silos.mask("ash", ALL, request) == silos.mask("ash", ALL, request)
    vote = protocol.agree_request("ash")
    # The opening is sealed with fresh nonces, which tell nothing.
    votes = [statement_of(silos.member("ash", ALL, vote).agree()) for _ in range(2)]
    assert [json.loads(each)["body"]["agreement"] for each in votes] == [protocol.agreement.digest] * 2


def test_a_sum_id_over_a_second_cohort_is_refused_at_every_stage(silos: SiloSums) -> None:
    protocol = silos.masked(ALL)
    requests = protocol.mask_request("ash"), protocol.agree_request("ash")
    asks: list[Callable[[], object]] = [silos.member("ash", THREE).prepare]
    for request in requests:
        member = silos.member("ash", THREE, request)
        asks += [lambda own=request: silos.mask("ash", THREE, own), member.agree, member.reveal]
    for ask in asks:
        with pytest.raises(ProtocolBreach, match="of another cohort"):
            ask()


def test_after_a_kill_a_silo_votes_for_no_other_survivors(silos: SiloSums) -> None:
    protocol, fewer = silos.masked(ALL), silos.masked(ALL, THREE)

    def vote_and_die() -> None:
        silos.member("ash", ALL, protocol.agree_request("ash")).agree()
        os.kill(os.getpid(), signal.SIGKILL)

    process = multiprocessing.get_context("fork").Process(target=vote_and_die)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(ProtocolBreach, match="other survivors than the member voted for"):
        silos.member("ash", ALL, fewer.agree_request("ash")).agree()
    protocol.add_agreed("ash", silos.member("ash", ALL, protocol.agree_request("ash")).agree())


def test_of_two_votes_at_once_one_is_refused(silos: SiloSums) -> None:
    """As flow runs of Prefect do, which a worker starts beside each other."""
    requests = [silos.masked(ALL, arrived).agree_request("ash") for arrived in (ALL, THREE)]
    before = (silos.home("ash") / f"{SUM}.record").read_bytes()
    fork = multiprocessing.get_context("fork")
    for _ in range(8):
        (silos.home("ash") / f"{SUM}.record").write_bytes(before)
        start, voted = fork.Barrier(2), fork.Queue()

        def vote(request: bytes, start=start, voted=voted) -> None:
            member = silos.member("ash", ALL, request)
            start.wait(60)
            try:
                member.agree()
            except ProtocolBreach:
                voted.put(0)
            else:
                voted.put(1)

        voters = [fork.Process(target=vote, args=(request,)) for request in requests]
        for each in voters:
            each.start()
        assert sum(voted.get(timeout=60) for _ in voters) == 1
        for each in voters:
            each.join(60)


def test_another_summand_and_other_members_are_not_masked(silos: SiloSums) -> None:
    protocol = silos.masked(ALL)
    request = protocol.mask_request("ash")
    other = replace(silos.contribution("ash"), metrics={USERS: Metric(9.0, 1.0)})
    with pytest.raises(ProtocolBreach, match="mask again"):
        silos.member("ash", ALL, request).mask(silos.form, other)
    without_elm = silos.protocol(ALL)
    for name in THREE:
        without_elm.add_prepared(name, silos.member(name, ALL).prepare()[SUM])
    with pytest.raises(ProtocolBreach, match="mask again"):
        silos.mask("ash", ALL, without_elm.mask_request("ash"))


def test_a_vote_before_the_masked_summand_and_an_opening_before_the_vote_are_refused(silos: SiloSums) -> None:
    protocol = silos.prepared(ALL)
    with pytest.raises(ProtocolBreach, match="before the member's masked vector"):
        silos.member("ash", ALL, protocol.mask_request("ash")).agree()
    with pytest.raises(ProtocolBreach, match="before the member's vote"):
        silos.member("ash", ALL, protocol.mask_request("ash")).reveal()


def test_a_sum_that_was_not_prepared_is_refused(silos: SiloSums) -> None:
    with pytest.raises(CorruptArtifact, match="has not prepared sum 'train-000001'"):
        silos.mask("ash", ALL, b"")


@pytest.mark.parametrize("how", ["copied", "restored"])
def test_a_restored_folder_is_not_used(silos: SiloSums, tmp_path: Path, how: str) -> None:
    silos.prepared(ALL)
    home, copy = silos.home("ash"), tmp_path / "copy"
    shutil.copytree(home, copy)
    if how == "restored":
        shutil.copytree(copy, home, dirs_exist_ok=True, copy_function=replacing_copy)
    else:
        shutil.rmtree(home)
        copy.rename(home)
    with pytest.raises(CorruptArtifact, match="restored or copied"):
        silos.member("ash", ALL)


def replacing_copy(source: str, target: str) -> None:
    """Copy a file as backup programs do: to another name, then renamed."""
    shutil.copy2(source, f"{target}.new")
    Path(f"{target}.new").replace(target)


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[]", b"7", b'{"file": 1, "encryption": 3}', b'{"file": 1, "encryption": "aa"}', b"\xff"],
)
def test_damaged_keys_are_refused(silos: SiloSums, content: bytes) -> None:
    silos.prepared(ALL)
    (silos.home("ash") / "keys.json").write_bytes(content)
    with pytest.raises(CorruptArtifact, match="keys for secure sums are damaged"):
        silos.member("ash", ALL)


def test_a_damaged_record_is_refused(silos: SiloSums) -> None:
    protocol = silos.masked(ALL)
    request, record = protocol.agree_request("ash"), silos.home("ash") / f"{SUM}.record"
    whole = record.read_bytes()
    for content in (b"", b"{}", whole[:-1], whole + b" ", whole.replace(b'"masked"', b'"Masked"')):
        record.write_bytes(content)
        with pytest.raises(CorruptArtifact, match="record of a secure sum is damaged"):
            silos.member("ash", ALL, request).agree()
    record.write_bytes(whole)
    protocol.add_agreed("ash", silos.member("ash", ALL, request).agree())


def test_a_cohort_below_the_owner_s_least_is_refused(tmp_path: Path) -> None:
    silos = SiloSums(tmp_path, min_cohort=4)
    with pytest.raises(EgressRefused, match=r"has 3 members .* sums of at least 4") as caught:
        silos.member("ash", THREE).prepare()
    assert "policy.min_cohort" in str(caught.value)
    assert not (silos.home("ash") / f"{SUM}.record").exists()
    silos.member("ash", ALL).prepare()


def test_a_sum_without_the_silo_is_refused(silos: SiloSums) -> None:
    with pytest.raises(EgressRefused, match="without client 'elm'"):
        silos.member("elm", THREE).prepare()


def test_a_member_that_the_owner_does_not_know_is_refused(silos: SiloSums, tmp_path: Path) -> None:
    silos.prepared(ALL)
    rules = silos.rules_of("ash")
    known = {name: key for name, key in rules.roster.items() if name != "elm"}
    with pytest.raises(EgressRefused, match="with 'elm', from nobody in the roster"):
        silos.member("ash", ALL, sum_id="train-000002", rules=replace(rules, roster=known)).prepare()


def test_a_member_under_a_key_of_the_coordinator_s_is_refused(silos: SiloSums, tmp_path: Path) -> None:
    invented = SiloSums(tmp_path / "invented")
    silos.announcements = {**silos.announcements, "elm": invented.announcements["elm"]}
    with pytest.raises(ProtocolBreach, match="not signed with the member's key"):
        silos.member("ash", ALL).prepare()


def test_secrets_are_for_the_owner_only(silos: SiloSums) -> None:
    silos.prepared(ALL)
    folder = silos.home("ash")
    assert folder.stat().st_mode & 0o077 == 0
    assert (folder / "keys.json").stat().st_mode & 0o077 == 0
    for secret in (silos.rules_of("ash"), silos.member("ash", ALL)):
        assert silos.identities["ash"].private_bytes_raw().hex() not in repr(secret)


def test_seeds_are_erased_two_rounds_later_and_the_sum_stays_over(silos: SiloSums) -> None:
    silos.masked(ALL)
    home = silos.home("ash")

    def at(round_: int) -> SumMember:
        asked = SumOrder({SUM: ALL}, silos.announcements, {}, b"")
        return SumMember(replace(silos.order("ash", asked), round=round_), silos.rules_of("ash"))

    at(2)
    assert (home / f"{SUM}.record").exists()
    member = at(3)
    assert sorted(path.name for path in home.glob(f"{SUM}.*")) == [f"{SUM}.over"]
    assert (home / f"{SUM}.over").read_bytes() == b""
    for answer in (member.prepare, member.agree, member.reveal):
        with pytest.raises(EgressRefused, match="is over for client 'ash'"):
            answer()
    with pytest.raises(EgressRefused, match="is over"):
        silos.mask("ash", ALL, b"")


@dataclass
class SimulatedSums(SiloSums):
    """The same members as clients of a simulation, which have no owners."""

    def member(
        self,
        name: str,
        members: tuple[str, ...] = (),
        request: bytes = b"",
        sum_id: str = SUM,
        rules: SumRules | None = None,
    ) -> SumMember:
        asked = SumOrder({sum_id: members}, self.announcements, self.keys, request) if members else None
        return SumMember(self.order(name, asked))

    @cached_property
    def keys(self) -> dict[str, bytes]:
        return {name: self.member(name).identity for name in self.names}

    def protocol(self, members: tuple[str, ...], sum_id: str = SUM) -> SecureSum:
        roster = {name: Ed25519PublicKey.from_public_bytes(self.keys[name]) for name in members}
        return SecureSum(Session(read_cohort("job-1", roster, self.announcements), sum_id), self.form.layout)


def test_simulated_clients_that_restart_before_each_answer_make_the_sum(tmp_path: Path) -> None:
    clients = SimulatedSums(tmp_path)
    protocol = clients.masked(ALL)
    for name in THREE:
        request = protocol.agree_request(name)
        vote = clients.member(name, ALL, request).agree()
        protocol.add_agreed(name, vote)
        again = clients.member(name, ALL, request).agree()
        assert json.loads(statement_of(again))["body"]["agreement"] == protocol.agreement.digest
    for name in THREE:
        protocol.add_revealed(name, clients.member(name, ALL, protocol.reveal_request(name)).reveal())
    assert clients.form.running_sum(protocol.total(), ALL).metrics == {USERS: Metric(10.0, 4.0)}


def test_a_simulated_client_keeps_what_it_answered_until_the_sum_is_over(tmp_path: Path) -> None:
    clients = SimulatedSums(tmp_path)
    first = clients.member("ash", ALL).prepare()
    protocol, fewer = clients.masked(ALL), clients.masked(ALL, THREE)
    assert clients.member("ash", ALL).prepare() == first
    clients.member("ash", ALL, protocol.agree_request("ash")).agree()
    with pytest.raises(ProtocolBreach, match="other survivors than the member voted for"):
        clients.member("ash", ALL, fewer.agree_request("ash")).agree()
    record = clients.home("ash") / f"{SUM}.record"
    record.write_bytes(record.read_bytes()[:-1])
    with pytest.raises(CorruptArtifact, match="record of a secure sum is damaged"):
        clients.member("ash", ALL, protocol.agree_request("ash")).agree()
    SumMember(replace(clients.order("ash"), round=3))
    assert {path.name: path.stat().st_size for path in clients.home("ash").glob(f"{SUM}.*")} == {
        f"{SUM}.over": 0
    }
