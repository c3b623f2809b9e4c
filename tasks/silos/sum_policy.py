"""What a silo's owner decided about secure sums and noise, applied to an order."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from data_contracts.strict_json import read_strictly
from models.errors import EgressRefused
from models.privacy.mechanisms import Mechanism, epsilon_of
from models.recommenders.base.family import Family
from models.secure_sum.primitives.canonical import digest
from tasks.clients.sum_member import SumRules
from tasks.local.atomic import kept_first, write_atomically
from tasks.messages.answers import Checked, Declined
from tasks.messages.orders import JobContext
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


def declined(silo: Silo, job: JobContext) -> Declined | None:
    """Return why the owner does not let the silo take part in a job; None if it takes part."""
    if silo.max_epsilon is None:
        return None
    epsilon = None if job.noise is None else epsilon_in(silo, job, OWNERS_DELTA)
    if epsilon is not None and epsilon <= silo.max_epsilon * (1.0 + _ROUNDING):
        return None
    return Declined(silo.max_epsilon, OWNERS_DELTA, epsilon)


def too_little_noise(silo: Silo, job: JobContext, why: Declined) -> EgressRefused:
    """Return the refusal of a step of a job in which the owner does not let the silo take part."""
    return EgressRefused(
        f"Silo {silo.name!r} refuses job {job.job_id}: it {why}.",
        next_step="Lower privacy.epsilon in the job's configuration, or raise policy.max_epsilon in "
        "silo.yaml.",
        silo=silo.name,
    )


def require_promise(silo: Silo, step_order: StepOrder) -> None:
    """Raise `EgressRefused` if a job asks for more than the noise of its first request pays for.

    A job's rounds and evaluations share one noise, each by its part. So the silo writes the promise down with
    the first request, and answers no other one. It trains in the rounds of the family, and evaluates the
    last model only.
    """
    order, step = step_order.order, step_order.step
    path = _promises(silo) / f"{order.job.job_id}.sha256"
    if step not in _TELLING or (order.job.noise is None and not path.exists()):
        return
    job, wrong = f"job {order.job.job_id}", None
    rounds = _promised_rounds(order.job.family)
    if rounds and (order.round > rounds or (step != "train" and order.round < rounds)):
        wrong = f"round {order.round} of a job that promises {rounds} round{'s' * (rounds > 1)}"
    promise = _promise(order.job).encode()
    if wrong is None and kept_first(path, promise) != promise:
        wrong = "another promise than the job's first request"
    if wrong:
        raise EgressRefused(
            f"Silo {silo.name!r} refuses step {step!r} of {job}: {wrong}. Its noise pays for no more.",
            next_step="Ask the coordinator's operator why: an honest coordinator never does this.",
            silo=silo.name,
        )


def _promise(job: JobContext) -> str:
    """Return the digest of all that decides how much noise a job's answers have."""
    spec: Any = job.spec
    ranges = {name: asdict(each) for name, each in job.ranges.items()}
    return digest([job.noise and asdict(job.noise), job.delta, asdict(spec), ranges])


def _promised_rounds(family: Family) -> int | None:
    """Return the rounds of a family whose users noise can hide; None if they are not known."""
    if family.unit_noise(1) is None:
        return None
    planned = family.planned(())
    if planned is not None:
        return planned[1]
    return None if family.is_iterative else 1


def privacy_of(silo: Silo, job: JobContext) -> Callable[[], dict[str, float]] | None:
    """Return a function of what the egress ledger says about the noise in an answer; None without noise.

    The silo works out epsilon itself, from the noise that it adds.
    """
    noise, delta = job.noise, job.delta
    if noise is None or delta is None:
        return None
    return lambda: {
        "multiplier": noise.multiplier,
        "own_share": 1.0 / noise.summands,
        "epsilon": epsilon_in(silo, job, delta),
        "delta": delta,
    }


def epsilon_in(silo: Silo, job: JobContext, delta: float) -> float:
    """Return the epsilon of a job's noise for this delta. It is worked out once for each job.

    Each step may have a process of its own, and what works epsilon out takes seconds to import.
    """
    assert job.noise is not None  # noqa: S101  # callers ask for jobs with noise
    path, multiplier = _promises(silo) / f"{job.job_id}.epsilon.json", job.noise.multiplier
    known = [each for each in _known_epsilons(path) if each[0] == multiplier]
    for _, its_delta, epsilon in known:
        if its_delta == delta:
            return epsilon
    epsilon = epsilon_of([Mechanism(multiplier)], delta)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(path, json.dumps([*known, (multiplier, delta, epsilon)]).encode(), durable=False)
    return epsilon


def _known_epsilons(path: Path) -> list[tuple[float, float, float]]:
    """Return (multiplier, delta, epsilon) as `epsilon_in` wrote them; a damaged file has none."""
    try:
        return read_strictly(list[tuple[float, float, float]], json.loads(path.read_bytes()))
    except (FileNotFoundError, ValueError, TypeError):
        return []


def _promises(silo: Silo) -> Path:
    return silo.home.silos / silo.name / "promises"


def without_counts(answer: Checked, rules: SumRules) -> Checked:
    """Return a verdict that tells nothing of the data but whether they changed since the last one.

    A digest of few data can be guessed, so it is keyed.
    """
    key = HKDF(SHA256(), _KEY_BYTES, None, b"fedrec data digest").derive(rules.identity.private_bytes_raw())
    digest = hmac.new(key, answer.digest.encode(), hashlib.sha256).hexdigest()
    return Checked(replace(answer.outcome, breaches=(), result={}), 0, 0, digest)
