"""The account of what was spent of a privacy budget, from the entries of its ledger.

An account stands for the people who may be in the data. A job reserves what it may cost before it trains. A
reservation counts in full until the job is settled with what it really released, so a crash never counts too
little. Where in doubt, the account counts too much:

- An open reservation counts in every period, because nobody knows when the job releases something.
- The smallest delta of the jobs that count is that of all together.
- An entry counts as no earlier than the one before it, so a clock that is behind hides nothing.
- A reset lets later jobs count from zero, and forgives nothing of what was charged before. A job that goes on
  afterwards is settled, or reserves again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from models.errors import BudgetExceeded, InvalidInput
from models.kernel.json_values import number
from models.ledger.chain import Entry, tampered
from models.privacy.mechanisms import Mechanism, costs_no_more, epsilon_of, multiplier_for

# Period -> the leading characters that all its times have in common.
PERIODS = {"ever": 0, "year": 4, "month": 7}
UNITS = ("user",)
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\+00:00")


@dataclass(frozen=True)
class Reservation:
    """What a job may spend.

    Attributes:
        job_id, config_name, model_name: of the job.
        mechanisms: all that the job may release.
        epsilon, delta: what they may cost, by the job's configuration.
        unit: whose data the noise hides: "user".
        budget: the most that all jobs of the period may cost together, an epsilon for this delta.
        period: "ever", or the calendar "year" or "month" of UTC.

    Raises:
        InvalidInput: a number is out of range, or the unit or period is unknown.
    """

    job_id: str
    config_name: str
    model_name: str
    mechanisms: tuple[Mechanism, ...]
    epsilon: float
    delta: float
    budget: float
    unit: str = "user"
    period: str = "ever"

    def __post_init__(self) -> None:
        if not (0.0 < self.epsilon < math.inf and 0.0 < self.budget < math.inf and 0.0 < self.delta < 1.0):
            raise InvalidInput(
                f"A job reserves an epsilon of {self.epsilon:g} for a delta of {self.delta:g} of a budget of "
                f"{self.budget:g}, expected numbers above 0 and a delta below 1."
            )
        if self.unit not in UNITS or self.period not in PERIODS:
            raise InvalidInput(
                f"A job reserves for the unit {self.unit!r} and the period {self.period!r}, expected the "
                f"unit {' or '.join(UNITS)} and the period {', '.join(PERIODS)}."
            )


@dataclass(frozen=True)
class JobSpending:
    """What counts for one job.

    Attributes:
        reservation: the job's last one.
        mechanisms: what counts: those reserved, or those that a settlement named.
        settled: whether the job was settled since it reserved.
        at: time of the last entry about the job.
        model_sha256: digest of the model that the settlement named. None before, and in settlements of
            earlier versions of fedrec.
    """

    reservation: Reservation
    mechanisms: tuple[Mechanism, ...]
    settled: bool
    at: str
    model_sha256: str | None = None


@dataclass(frozen=True)
class AccountReset:
    """A person's decision to count from zero again.

    Attributes:
        by: the person.
        reason: why, such as that the data have other people now.
        at: when.
    """

    by: str
    reason: str
    at: str


@dataclass(frozen=True)
class Account:
    """An account, as its entries tell.

    Attributes:
        name: of the account.
        jobs: job id -> what counts for it since the last reset, in the order of the last entries.
        earlier: the same of all jobs, also of those before a reset, which do not count.
        newest: period -> the newest reservation that has a budget for it.
        resets: all resets, the newest last.
        at: time of the last entry; empty without one.
        before_resets: what counted at each reset, as in `jobs`.
    """

    name: str
    jobs: Mapping[str, JobSpending]
    earlier: Mapping[str, JobSpending]
    newest: Mapping[str, Reservation] = field(default_factory=dict)
    resets: tuple[AccountReset, ...] = ()
    at: str = ""
    before_resets: tuple[Mapping[str, JobSpending], ...] = ()

    def counted(self, period: str, now: str) -> list[JobSpending]:
        """Return what counts in the period of the time `now`, in the order of the last entries."""
        size = PERIODS[period]
        return [each for each in self.jobs.values() if not each.settled or each.at[:size] >= now[:size]]

    def spent(self, period: str, now: str, *, besides: str = "") -> list[Mechanism]:
        """Return all mechanisms that count in a period, except those of the job `besides`."""
        return [
            mechanism
            for each in self.counted(period, now)
            if each.reservation.job_id != besides
            for mechanism in each.mechanisms
        ]

    def delta_with(self, asked: Reservation, now: str) -> float:
        """Return the smallest delta of a job and of all that counts in its period.

        A job of a larger delta must not make the epsilon of those before it small.
        """
        return min([asked.delta, *(each.reservation.delta for each in self.counted(asked.period, now))])

    def spent_around(self, job_id: str, period: str) -> list[list[Mechanism]]:
        """Return all mechanisms that counted in the period in which a job was charged, its own among them.

        A reset pays nothing back. So there is a list for each reset, of what counted until then, and a last
        one of what counts now. It is empty where the job did not count.
        """
        return [_around(jobs, job_id, PERIODS[period]) for jobs in (*self.before_resets, self.jobs)]

    def needs(self, asked: Reservation, now: str) -> bool:
        """Return whether a job must be written down, because less than it asks for counts in its period.

        Raises:
            BudgetExceeded: it must, and all jobs together would cost more than its budget.
        """
        counted = {each.reservation.job_id: each for each in self.counted(asked.period, now)}
        mine = counted.get(asked.job_id)
        if mine is not None and costs_no_more(asked.mechanisms, mine.mechanisms):
            return False
        others = self.spent(asked.period, now, besides=asked.job_id)
        delta = self.delta_with(asked, now)
        together = epsilon_of([*others, *asked.mechanisms], delta)
        if together > asked.budget:
            raise _exceeded(self.name, asked, now, others, together, delta)
        return True

    def settles(self, job_id: str, released: Sequence[Mechanism], model_sha256: str | None) -> bool:
        """Return whether a settlement changes what is known about a job.

        Raises:
            InvalidInput: the job reserved nothing, or less than it released, or was settled with another
                model.
        """
        known = self.earlier.get(job_id)
        if known is None:
            raise InvalidInput(
                f"Job {job_id} reserved nothing of the privacy account {self.name!r}, so it cannot be "
                "settled there.",
                next_step="Settle it in the account that its configuration names.",
                job_id=job_id,
            )
        if not costs_no_more(released, known.reservation.mechanisms):
            raise InvalidInput(
                f"Job {job_id} reserved less of the privacy account {self.name!r} than it released.",
                next_step="Report this: it is an error of fedrec.",
                job_id=job_id,
            )
        if known.model_sha256 is not None and known.model_sha256 != model_sha256:
            raise InvalidInput(
                f"Job {job_id} was settled in the privacy account {self.name!r} with the model "
                f"{known.model_sha256[:12]}, not {str(model_sha256)[:12]}, and was charged once.",
                next_step="Give each home an account of its own. This model was not paid for, so delete it.",
                job_id=job_id,
            )
        was = known.settled, known.mechanisms, known.model_sha256
        return was != (True, tuple(released), model_sha256)


def reservation_body(asked: Reservation, now: str) -> dict[str, Any]:
    """Return the body of the entry that reserves, at the time `now`."""
    return {"type": "reserve", "at": now, **asdict(asked), "mechanisms": _as_json(asked.mechanisms)}


def settlement_body(
    job_id: str, released: Sequence[Mechanism], model_sha256: str | None, now: str
) -> dict[str, Any]:
    """Return the body of the entry that settles a job with what it released, at the time `now`.

    It names the digest of the last model, if the job released any. Another home may have a job of the same
    id, and its model was not paid for here.
    """
    body = {"type": "settle", "at": now, "job_id": job_id, "mechanisms": _as_json(released)}
    return body if model_sha256 is None else {**body, "model_sha256": model_sha256}


def reset_body(by: str, reason: str, now: str) -> dict[str, Any]:
    """Return the body of the entry that resets the account, at the time `now`.

    Raises:
        InvalidInput: nobody or no reason is named.
    """
    if not by.strip() or not reason.strip():
        raise InvalidInput(
            "A reset of a privacy account needs a person and a reason, because it cannot be undone.",
            next_step="Name both with --by and --reason.",
        )
    return {"type": "reset", "at": now, "by": by, "reason": reason}


def account_of(name: str, ledger: str, entries: Iterable[Entry]) -> Account:
    """Return the account that these entries tell.

    Args:
        name: of the account.
        ledger: the ledger's name in an error.
        entries: the whole ledger, verified by `chain.verify`.

    Raises:
        LedgerTampered: names the first entry that is not one of an account.
    """
    account = Account(name, {}, {})
    for entry in entries:
        try:
            account = _after(account, entry.body)
        except (InvalidInput, ValueError) as error:
            fault = error.what if isinstance(error, InvalidInput) else f"{error}."
            raise tampered(ledger, entry.seq, f"it is no entry of an account: {fault}") from error
    return account


def left_of(budget: float, delta: float, spent: Sequence[Mechanism]) -> float:
    """Return the greatest epsilon that a job may still have, for this delta; 0 if nothing is left.

    It is more than the budget minus the spent epsilon, because noise of several jobs adds up less fast.
    """
    try:
        return epsilon_of([Mechanism(multiplier_for(budget, delta, spent))], delta)
    except InvalidInput:
        return 0.0


def _exceeded(
    account: str, asked: Reservation, now: str, others: Sequence[Mechanism], together: float, delta: float
) -> BudgetExceeded:
    spent, left = epsilon_of(others, delta), left_of(asked.budget, delta, others)
    when = "" if asked.period == "ever" else f" in the {asked.period} {now[: PERIODS[asked.period]]}"
    lower = f"Choose a privacy.epsilon of at most {_floor(left)}, or " if _floor(left) else ""
    wait = "" if asked.period == "ever" else f"wait for the next {asked.period}, or "
    steps = f"{lower}{wait}raise privacy.budget with the agreement of those who set it"
    return BudgetExceeded(
        f"The privacy account {account!r} has spent an epsilon of {spent:.4g} of its budget of "
        f"{asked.budget:g}{when}, for a delta of {delta:g}. Job {asked.job_id} asks for "
        f"{asked.epsilon:g}, which would make it {_above(together, asked.budget)}.",
        next_step=f"{steps[0].upper()}{steps[1:]}. fedrec privacy status shows what was spent on.",
        account=account,
        period=asked.period,
        budget=asked.budget,
        spent=spent,
        asked=asked.epsilon,
        left=left,
    )


def _above(epsilon: float, budget: float) -> str:
    """Return an epsilon above the budget with as many digits as show that it is above."""
    text = f"{epsilon:.4g}"
    return text if float(text) > budget else repr(epsilon)


def _floor(epsilon: float) -> float:
    """Return an epsilon rounded down to a thousandth, so that it still fits."""
    return int(epsilon * 1000) / 1000


def _after(account: Account, body: Mapping[str, Any]) -> Account:
    """Return the account after one more entry."""
    kind, at = body.get("type"), body.get("at")
    if not isinstance(at, str) or not _TIME.fullmatch(at):
        raise ValueError(f"its time is {at!r}")
    at = max(at, account.at)
    account = replace(account, at=at)
    if kind == "reset":
        _require_parts(body, {"by", "reason"})
        reset = AccountReset(_text(body, "by"), _text(body, "reason"), at)
        before = (*account.before_resets, account.jobs)
        return replace(account, jobs={}, resets=(*account.resets, reset), before_resets=before)
    if kind == "settle":
        _require_parts(body, {"job_id", "mechanisms", *({"model_sha256"} & body.keys())})
        job_id, released = _text(body, "job_id"), _mechanisms(body)
        model = _text(body, "model_sha256") if "model_sha256" in body else None
        account.settles(job_id, released, model)
        spending = JobSpending(account.earlier[job_id].reservation, released, True, at, model)
    elif kind == "reserve":
        _require_parts(body, {each.name for each in fields(Reservation)})
        asked = Reservation(
            job_id=_text(body, "job_id"),
            config_name=_text(body, "config_name"),
            model_name=_text(body, "model_name"),
            mechanisms=_mechanisms(body),
            epsilon=number(body["epsilon"], "epsilon"),
            delta=number(body["delta"], "delta"),
            budget=number(body["budget"], "budget"),
            unit=_text(body, "unit"),
            period=_text(body, "period"),
        )
        job_id, spending = asked.job_id, JobSpending(asked, asked.mechanisms, False, at)
        account = replace(account, newest={**account.newest, asked.period: asked})
    else:
        raise ValueError(f"its type is {kind!r}")
    return replace(
        account,
        jobs=_with_last(account.jobs, job_id, spending),
        earlier=_with_last(account.earlier, job_id, spending),
    )


def _around(jobs: Mapping[str, JobSpending], job_id: str, size: int) -> list[Mechanism]:
    """Return what counts of these jobs in the period of a job; nothing if it is not among them."""
    if job_id not in jobs:
        return []
    period = jobs[job_id].at[:size]
    # Nobody knows when a job that is not settled releases something.
    counted = (each for each in jobs.values() if not each.settled or each.at[:size] == period)
    return [mechanism for each in counted for mechanism in each.mechanisms]


def _with_last(
    jobs: Mapping[str, JobSpending], job_id: str, spending: JobSpending
) -> Mapping[str, JobSpending]:
    return {**{name: each for name, each in jobs.items() if name != job_id}, job_id: spending}


def _as_json(mechanisms: Iterable[Mechanism]) -> list[dict[str, Any]]:
    return [each.to_json() for each in mechanisms]


def _mechanisms(body: Mapping[str, Any]) -> tuple[Mechanism, ...]:
    found = body["mechanisms"]
    if not isinstance(found, list):
        raise ValueError("its mechanisms are not a list")
    return tuple(Mechanism.of_json(each) for each in found)


def _require_parts(body: Mapping[str, Any], names: set[str]) -> None:
    if body.keys() != {"type", "at", *names}:
        raise ValueError(f"it has the parts {', '.join(sorted(body))}")


def _text(body: Mapping[str, Any], name: str) -> str:
    found = body[name]
    if not isinstance(found, str) or not found:
        raise ValueError(f"its {name} is {found!r}")
    return found
