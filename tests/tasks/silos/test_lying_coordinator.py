"""A coordinator that lies to silos in secure sums: its orders get nothing, and the owner sees what left."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from models.errors import EgressRefused, FedrecError, InvalidInput, ProtocolBreach
from models.kernel.packed import whole
from models.privacy.mechanisms import Mechanism, epsilon_of
from models.privacy.noise_plan import NoisePlan
from models.recommenders.additive.ease import EaseFamily, EaseSpec
from models.secure_sum.cohort import announce
from models.secure_sum.coordinator import SecureSum
from models.secure_sum.primitives.keys import MemberKeys
from tasks.clients.train import train_client
from tasks.exchange.codec import decode_update
from tasks.messages.answers import Declined
from tasks.messages.sum_forms import evaluation_form
from tasks.messages.sum_orders import SumOrder
from tasks.silos.perform_step import perform_step
from tests.worlds.sums.summing_silos import NAMES, TRAIN, SummingSilos

Ask = Callable[[], Any]
EVALUATE = "evaluate-000000"


@pytest.fixture
def silos(tmp_path: Path) -> SummingSilos:
    return SummingSilos.below(tmp_path)


def refused(silos: SummingSilos, error: type[FedrecError], match: str, ask: Ask) -> None:
    """Assert that "ash" refuses, that nothing leaves it, and that its ledger says what its policy refused."""
    before, entries = silos.left("ash"), silos.entries("ash")
    with pytest.raises(error, match=match):
        ask()
    assert silos.left("ash") == before
    added = silos.entries("ash")[len(entries) :]
    assert [each["type"] for each in added] == ["refused"] * (error is EgressRefused)
    assert all(re.search(match, each["reason"]) for each in added)


def test_the_sum_is_that_of_the_plain_updates(silos: SummingSilos) -> None:
    protocol = silos.masked()
    silos.agreed(protocol)
    found = silos.form.running_sum(protocol.total(), NAMES)
    plain = replace(silos.job, secure_sum=False, silos_dir=str(silos.root / "local"))
    updates = []
    for name in NAMES:
        order = replace(silos.order("train", name, None).order, job=plain)
        updates.append(decode_update(silos.exchange.get(train_client(order).update)))
    for name, array in found.total.named():
        summands = [dict(whole(each.contribution.arrays).named())[name] for each in updates]
        np.testing.assert_array_equal(array, np.sum(summands, axis=0, dtype=np.float64), err_msg=name)
    # 24 users with ten interactions, of which two are held out.
    assert found.interactions == 24 * 8
    assert found.metrics["users"].total == 24


def test_the_ledger_says_among_how_many_an_update_was_masked(silos: SummingSilos) -> None:
    silos.agreed(silos.masked())
    (update,) = [each for each in silos.entries("ash") if each["what"] == "masked_update"]
    assert (update["type"], update["treatment"]) == ("sent", "masked among 4 members")
    others = {each["what"].split("-")[0]: each["treatment"] for each in silos.entries("ash")}
    del others["masked_update"]
    # Keys, counts and sizes can be read; shares and votes only by those that they are sealed for.
    assert others == {
        **dict.fromkeys(("check", "announce", "train"), "readable"),
        **dict.fromkeys(("prepare", "agree"), "sealed"),
    }


def test_noise_that_more_clients_share_than_are_in_the_sum_gets_nothing(silos: SummingSilos) -> None:
    protocol = silos.prepared(sum_id=EVALUATE)
    asked = silos.sum_order(protocol.mask_request("ash"), sum_id=EVALUATE)
    lie = NoisePlan(2.0, summands=5, figures_share=0.5)
    refused(silos, EgressRefused, "too little of it", lambda: silos.ask("evaluate", "ash", asked, noise=lie))


def test_a_sum_of_fewer_survivors_than_share_the_noise_gets_no_vote(silos: SummingSilos) -> None:
    noise = NoisePlan(2.0, summands=4, figures_share=0.5)
    layout = evaluation_form(silos.job, len(NAMES)).layout
    protocol = SecureSum(silos.session(sum_id=EVALUATE), layout)
    for name in NAMES:
        answer = silos.ask("prepare", name, silos.sum_order(sum_id=EVALUATE))
        protocol.add_prepared(name, answer.messages[EVALUATE])
    for name in NAMES[:3]:
        asked = silos.sum_order(protocol.mask_request(name), sum_id=EVALUATE)
        answer = silos.ask("evaluate", name, asked, noise=noise, delta=1e-5)
        protocol.add_masked(name, answer.messages[EVALUATE])
    asked = silos.sum_order(protocol.agree_request("ash"), sum_id=EVALUATE)
    # Another promise when it votes changes nothing: the silo knows with what noise it masked.
    for later in (noise, replace(noise, summands=3), None):
        ask = partial(silos.ask, "agree", "ash", asked, round_=0, noise=later)
        refused(silos, ProtocolBreach, "votes for at least 4", ask)


def test_an_owner_s_limit_of_epsilon_holds_whatever_the_job_says(silos: SummingSilos) -> None:
    protocol = silos.prepared(sum_id=EVALUATE)
    asked = silos.sum_order(protocol.mask_request("ash"), sum_id=EVALUATE)
    silos.silos["ash"] = replace(silos.silos["ash"], max_epsilon=2.0)
    ask = partial(silos.ask, "evaluate", "ash", asked)
    refused(silos, EgressRefused, "at most 2, with delta 1e-05.*has no noise", ask)
    # The analytic Gaussian mechanism: a multiplier of .6 is epsilon 8, one of 2 just below 2.
    weak, strong = (NoisePlan(each, summands=3, figures_share=0.5) for each in (0.6, 2.0))
    refused(silos, EgressRefused, "noise for epsilon 8", partial(ask, noise=weak, delta=0.5))
    ask(noise=strong, delta=1e-5)


@pytest.mark.parametrize("step", ["announce", "prepare", "train", "evaluate", "compare"])
def test_an_owner_s_limit_of_epsilon_holds_at_each_step(silos: SummingSilos, step: Any) -> None:
    asked = silos.sum_order() if step != "announce" else None
    silos.silos["ash"] = replace(silos.silos["ash"], max_epsilon=2.0)
    weak = NoisePlan(0.6, summands=3, figures_share=0.5)
    ask = partial(silos.ask, step, "ash", asked, noise=weak, delta=1e-5)
    refused(silos, EgressRefused, "noise for epsilon 8", ask)


def test_a_silo_says_at_the_check_that_its_owner_wants_more_noise(silos: SummingSilos) -> None:
    silo = silos.silos["ash"] = replace(silos.silos["ash"], max_epsilon=2.0)
    assert silos.ask("check", "ash") == Declined(2.0, 1e-5, None)
    weak, strong = (NoisePlan(each, summands=3, figures_share=0.5) for each in (0.6, 2.0))
    answer = silos.ask("check", "ash", noise=weak, delta=0.5)
    # The owner's delta counts, not that of the job.
    assert answer == Declined(2.0, 1e-5, epsilon_of([Mechanism(0.6)], 1e-5))
    assert str(answer).endswith("of at most 2, with delta 1e-05, and this one has noise for epsilon 8")
    # Nothing of the data was read or left, and the ledger says what was refused.
    assert not (silo.home.root / "snapshots").exists()
    first, second, third, fourth = silos.entries("ash")
    assert [each["type"] for each in (first, second, third, fourth)] == ["refused", "sent"] * 2
    assert "this one has no noise" in first["reason"]
    assert "or raise policy.max_epsilon in silo.yaml" in (silo.home.root / "silo.log").read_text()
    assert second["fields"] == [
        *("declined.delta", "declined.epsilon", "declined.most"),
        *("egress.count", "egress.sha256"),
    ]
    assert silos.ask("check", "ash", noise=strong, delta=1e-5).outcome.passed


def private(silos: SummingSilos) -> None:
    """Let the silos' job be one of unit statistics, which has one round."""
    family = EaseFamily(EaseSpec(user_norm="unit"))
    silos.job = replace(silos.job, spec=family.spec, noise=NoisePlan(2.0, 3, figures_share=0.5), delta=1e-5)
    silos.base = replace(silos.base, items=family.initial(len(silos.base.items), 1))


def test_a_job_with_noise_gets_no_more_evaluations_than_it_promises(silos: SummingSilos) -> None:
    private(silos)
    for round_ in (0, 2):
        name = f"evaluate-{round_:06d}"
        asked = silos.sum_order(silos.prepared(sum_id=name).mask_request("ash"), sum_id=name)
        ask = partial(silos.ask, "evaluate", "ash", asked, round_=round_)
        refused(silos, EgressRefused, f"round {round_} of a job that promises 1 round", ask)
    last = "evaluate-000001"
    silos.ask(
        "evaluate",
        "ash",
        silos.sum_order(silos.prepared(sum_id=last).mask_request("ash"), sum_id=last),
        round_=1,
    )


def test_a_job_that_changes_its_promise_gets_nothing_more(silos: SummingSilos) -> None:
    private(silos)
    first, last = "evaluate-000001", "compare-000001"
    asked = silos.sum_order(silos.prepared(sum_id=first).mask_request("ash"), sum_id=first)
    silos.ask("evaluate", "ash", asked, round_=1)
    asked = silos.sum_order(silos.prepared(sum_id=last).mask_request("ash"), sum_id=last)
    noise = silos.job.noise
    assert noise is not None
    for lie in (replace(noise, figures_share=0.9), replace(noise, multiplier=1.0), None):
        ask = partial(silos.ask, "compare", "ash", asked, round_=1, noise=lie)
        refused(silos, EgressRefused, "another promise", ask)
    silos.ask("compare", "ash", asked, round_=1)


def test_other_survivors_get_no_second_vote(silos: SummingSilos) -> None:
    protocol, fewer = silos.masked(), silos.masked(NAMES[:3])
    silos.agreed(protocol)
    lie = silos.sum_order(fewer.agree_request("ash"))
    refused(silos, ProtocolBreach, "other survivors", lambda: silos.ask("agree", "ash", lie))


def test_survivors_that_did_not_mask_get_no_vote(silos: SummingSilos) -> None:
    fewer = silos.masked(NAMES[:3])
    request = fewer.agree_request("ash").replace(b'"ash","birch","cedar"', b'"ash","birch","elm"')
    refused(silos, ProtocolBreach, "message", lambda: silos.ask("agree", "ash", silos.sum_order(request)))
    two = fewer.agree_request("ash").replace(b'"ash","birch","cedar"', b'"ash","birch"')
    refused(silos, ProtocolBreach, "message", lambda: silos.ask("agree", "ash", silos.sum_order(two)))


def test_a_second_cohort_of_a_sum_gets_nothing(silos: SummingSilos) -> None:
    silos.masked()
    three = NAMES[:3]
    lie = silos.sum_order(members=three)
    refused(silos, ProtocolBreach, "another cohort", lambda: silos.ask("prepare", "ash", lie))
    refused(silos, ProtocolBreach, "another cohort", lambda: silos.ask("train", "ash", lie))


@pytest.mark.parametrize("sum_id", ["train-000002", "evaluate-000001"])
def test_a_summand_is_in_the_sum_of_its_round_only(silos: SummingSilos, sum_id: str) -> None:
    """Otherwise the same summand could be in two sums, whose cohorts differ in one member."""
    silos.masked()
    three = NAMES[:3]
    second = silos.prepared(three, sum_id)
    lie = silos.sum_order(second.mask_request("ash"), three, sum_id)
    refused(silos, EgressRefused, "for a summand of", lambda: silos.ask("train", "ash", lie))


def test_an_evaluation_is_in_the_sum_of_its_own_step_only(silos: SummingSilos) -> None:
    other = silos.prepared(sum_id="compare-000000")
    lie = silos.sum_order(other.mask_request("ash"), sum_id="compare-000000")
    refused(silos, EgressRefused, "for a summand of", lambda: silos.ask("evaluate", "ash", lie))


def test_statistics_that_are_the_same_in_each_round_are_summed_once(silos: SummingSilos) -> None:
    second, family = "train-000002", EaseFamily(EaseSpec())
    silos.job = replace(silos.job, spec=family.spec)
    silos.base = replace(silos.base, items=family.initial(len(silos.base.items), 1))
    protocol = silos.prepared(sum_id=second)
    asked = silos.sum_order(protocol.mask_request("ash"), sum_id=second)
    again = partial(silos.ask, "train", "ash", asked, round_=2)
    refused(silos, EgressRefused, "the same statistics in each round", again)


def test_a_member_that_is_not_in_the_roster_gets_nothing(silos: SummingSilos) -> None:
    invented = MemberKeys("oak", Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
    members = (*NAMES[:3], "oak")
    announcements = {each: silos.announcements[each] for each in NAMES[:3]}
    lie = SumOrder({TRAIN: members}, announcements | {"oak": announce(invented, "job-1")}, {})
    refused(silos, EgressRefused, "nobody in the roster", lambda: silos.ask("prepare", "ash", lie))


def test_a_sum_of_fewer_members_than_the_owner_wants_gets_nothing(silos: SummingSilos) -> None:
    silos.silos["ash"] = replace(silos.silos["ash"], min_cohort=5)
    lie = silos.sum_order()
    refused(silos, EgressRefused, "sums of at least 5", lambda: silos.ask("prepare", "ash", lie))


def test_a_member_s_name_with_a_key_of_the_coordinator_s_gets_nothing(silos: SummingSilos) -> None:
    invented = MemberKeys("elm", Ed25519PrivateKey.generate(), X25519PrivateKey.generate())
    announcements = dict(silos.announcements) | {"elm": announce(invented, "job-1")}
    own = invented.identity.public_key().public_bytes_raw()
    lie = SumOrder({TRAIN: NAMES}, announcements, {"elm": own})
    refused(silos, ProtocolBreach, "not signed with", lambda: silos.ask("prepare", "ash", lie))


def test_swapped_keys_get_nothing(silos: SummingSilos) -> None:
    swapped = dict(silos.announcements)
    swapped["birch"], swapped["elm"] = swapped["elm"], swapped["birch"]
    lie = SumOrder({TRAIN: NAMES}, swapped, {})
    refused(silos, ProtocolBreach, "message", lambda: silos.ask("prepare", "ash", lie))


def test_a_name_that_is_listed_twice_makes_no_larger_cohort(silos: SummingSilos) -> None:
    silos.silos["ash"] = replace(silos.silos["ash"], min_cohort=5)
    twice = tuple(sorted((*NAMES, "elm")))
    lie = silos.sum_order(members=twice)
    refused(silos, InvalidInput, "once each", lambda: silos.ask("prepare", "ash", lie))


def test_a_request_for_another_member_gets_nothing(silos: SummingSilos) -> None:
    protocol = silos.prepared()
    lie = silos.sum_order(protocol.mask_request("birch"))
    refused(silos, ProtocolBreach, "message", lambda: silos.ask("train", "ash", lie))


@pytest.mark.parametrize("step", ["train", "evaluate", "compare"])
def test_a_plain_order_gets_nothing_from_a_silo_that_allows_none(silos: SummingSilos, step: Any) -> None:
    assert silos.announcements
    silos.silos["ash"] = replace(silos.silos["ash"], plain=False)
    refused(silos, EgressRefused, "in secure sums only", lambda: silos.ask(step, "ash", secure_sum=False))
    lie = silos.sum_order(sum_id=f"{step}-{int(step == 'train'):06d}")
    silos.ask("prepare", "ash", lie)
    refused(silos, ProtocolBreach, "not two lines of JSON", lambda: _asked(silos, step, lie))


def _asked(silos: SummingSilos, step: Any, lie: SumOrder) -> Any:
    ordered = silos.order(step, "ash", lie)
    if step == "compare":
        ordered = replace(ordered, arguments={"alone_rounds": 0})
    return perform_step(silos.silos["ash"], ordered)


@pytest.mark.parametrize("plain_job", [False, True])
def test_a_check_tells_a_coordinator_no_counts(silos: SummingSilos, plain_job: bool) -> None:
    silos.silos["ash"] = replace(silos.silos["ash"], plain=False)
    answer = silos.ask("check", "ash", secure_sum=not plain_job)
    assert (answer.users, answer.interactions, answer.outcome.result) == (0, 0, {})
    assert answer.outcome.passed
