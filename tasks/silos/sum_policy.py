"""What a silo's owner decided about secure sums and noise, applied to an order."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from models.errors import EgressRefused
from models.privacy.mechanisms import Mechanism, epsilon_of
from tasks.clients.sum_member import SumRules
from tasks.messages.answers import Checked
from tasks.messages.orders import ClientOrder
from tasks.messages.steps import StepOrder
from tasks.silos.keys import load_key
from tasks.silos.roster import read_roster

if TYPE_CHECKING:
    from tasks.silos.perform_step import Silo

_KEY_BYTES = 32
# With which an owner's limit is held, whatever delta a job names.
OWNERS_DELTA = 1e-5
# Multipliers are searched for until they are this near.
_ROUNDING = 1e-6
# The steps whose answers tell something of the data.
_TELLING = ("train", "evaluate", "compare")


def sum_rules(silo: Silo) -> SumRules:
    """Return the silo's rules for secure sums."""
    key = load_key(silo.home)
    return SumRules(
        key.private, read_roster(silo.home) | {silo.name: key.public}, silo.min_cohort, silo.publish
    )


def require_sum(silo: Silo, step_order: StepOrder) -> None:
    """Raise `EgressRefused` if the answer would leave readable, and the owner does not allow that."""
    order = step_order.order
    if silo.plain or step_order.step not in _TELLING or order.sum is not None:
        return
    raise EgressRefused(
        f"Silo {silo.name!r} sends updates and figures in secure sums only. Job {order.job.job_id} has none.",
        next_step="Set privacy.secure_sum in the job's configuration, or policy.plain in silo.yaml.",
        silo=silo.name,
    )


def require_noise(silo: Silo, step_order: StepOrder) -> None:
    """Raise `EgressRefused` if the answer would tell more of a user than the owner allows."""
    limit, noise = silo.max_epsilon, step_order.order.job.noise
    if limit is None or step_order.step not in _TELLING:
        return
    job = f"Job {step_order.order.job.job_id}"
    if noise is None:
        told = f"{job} has no noise"
    else:
        epsilon = epsilon_of([Mechanism(noise.multiplier)], OWNERS_DELTA)
        if epsilon <= limit * (1.0 + _ROUNDING):
            return
        told = f"{job} has noise for epsilon {epsilon:.3g}"
    raise EgressRefused(
        f"Silo {silo.name!r} takes part only in jobs that promise each user an epsilon of at most {limit:g}, "
        f"with delta {OWNERS_DELTA:g}. {told}.",
        next_step="Lower privacy.epsilon in the job's configuration, or raise policy.max_epsilon in "
        "silo.yaml.",
        silo=silo.name,
    )


def privacy_of(order: ClientOrder) -> dict[str, float] | None:
    """Return what the egress ledger says about the noise in an answer; None if the job has none.

    The silo works out epsilon itself, from the noise that it adds.
    """
    noise, delta = order.job.noise, order.job.delta
    if noise is None or delta is None:
        return None
    return {
        "multiplier": noise.multiplier,
        "own_share": 1.0 / noise.summands,
        "epsilon": epsilon_of([Mechanism(noise.multiplier)], delta),
        "delta": delta,
    }


def without_counts(answer: Checked, rules: SumRules) -> Checked:
    """Return a verdict that tells nothing of the data but whether they changed since the last one.

    A digest of few data can be guessed, so it is keyed.
    """
    key = HKDF(SHA256(), _KEY_BYTES, None, b"fedrec data digest").derive(rules.identity.private_bytes_raw())
    digest = hmac.new(key, answer.digest.encode(), hashlib.sha256).hexdigest()
    return Checked(replace(answer.outcome, breaches=(), result={}), 0, 0, digest)
