"""A job's result as table rows, for the report and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from models.evaluation.benefit import benefit_of
from models.evaluation.judgement import RANKINGS, Judgement, judgement_of
from models.federation.client_drift import ClientDrift
from models.federation.rounds import Rejection
from models.kernel.metric import Metric
from tasks.messages.job_result import ContractSummary, JobResult
from tasks.reports.privacy_text import privacy_note

# The mean of 95 % of samples lies within the interval.
_CONFIDENCE = 0.975
# Below this share of the mean a standard error is a rounding error: all cases are equal.
_ROUNDING = 1e-6

STAGES: dict[str, str] = {
    "startup_s": "Start-up",
    "train_s": "Training",
    "transfer_s": "Transfer",
    "polling_s": "Polling",
    "merge_s": "Merging",
    "contracts_s": "Contracts",
    "tracking_s": "Tracking",
    "evaluate_s": "Evaluation",
    "baselines_s": "Baselines",
    "report_s": "Report",
    "orchestration_s": "Orchestration",
}
# Only for silos on their own machines.
_REMOTE = ("transfer_s", "polling_s")
_OTHER = "Not accounted for"
_WORTH_NAMING = 0.005


@dataclass(frozen=True)
class MetricComparison:
    """One metric on the test split for each kind of training; None if it was not computed.

    `noise` is by how much noise alone moves the federated one; None without noise.
    """

    metric: str
    federated: float | None
    silo_only: float | None
    centralised: float | None
    noise: float | None = None

    @property
    def to_silo_only(self) -> float | None:
        """Return federated divided by silo-only. Joining helps above 1; for an error, below 1."""
        return _ratio(self.federated, self.silo_only)

    @property
    def to_centralised(self) -> float | None:
        """Return federated divided by centralised. At 1, nothing is lost by not pooling."""
        return _ratio(self.federated, self.centralised)


@dataclass(frozen=True)
class ClientBenefit:
    """The benefit of joining for one client: the mean difference per case, federated minus silo-only.

    Attributes:
        client_id: the client.
        cases: number of its test cases.
        mean: mean difference over them.
        standard_error: standard error of the mean; None if there is only one case.
        offer: "global", or "local" if the client's own model is clearly better on validation.
    """

    client_id: str
    cases: int
    mean: float
    standard_error: float | None
    offer: str = "global"

    @property
    def margin(self) -> float | None:
        """Return half the width of Student's 95% interval; None if there is only one case, or all are equal.

        Equal cases say nothing about the spread of others.
        """
        if self.standard_error is None or self.standard_error <= _ROUNDING * abs(self.mean):
            return None
        from scipy.special import stdtrit

        return float(stdtrit(self.cases - 1, _CONFIDENCE)) * self.standard_error

    @property
    def clearly_gains(self) -> bool:
        """Return whether the whole interval lies above zero."""
        return self.margin is not None and self.mean > self.margin

    @property
    def clearly_loses(self) -> bool:
        """Return whether the whole interval lies below zero: its own model serves its users better."""
        return self.margin is not None and -self.mean > self.margin


@dataclass(frozen=True)
class ClientDrifts:
    """One client's updates compared with the sums of all, over the rounds that merged them.

    Attributes:
        client_id: the client.
        rounds: number of these rounds.
        cosine: mean cosine between its update and the sum of all.
        lowest: the lowest of these cosines.
        norm: mean of the length of its update divided by the length of the sum.
    """

    client_id: str
    rounds: int
    cosine: float
    lowest: float
    norm: float


@dataclass(frozen=True)
class TimeShare:
    """One stage of the job, and its share of the wall time."""

    label: str
    seconds: float
    share: float


@dataclass(frozen=True)
class ContractTally:
    """How often one contract was checked, and the outcomes that broke it."""

    contract: str
    checked: int
    broken: tuple[ContractSummary, ...]

    @property
    def passed(self) -> int:
        """Return the number of checks without a breach."""
        return self.checked - len(self.broken)


def judgement(result: JobResult) -> Judgement:
    """Return the metrics that judge the job's models."""
    names = {name for one in result.rounds for name in one.metrics}
    federated = result.final.federated or {}
    return judgement_of({*federated, *(name.removeprefix("validation/") for name in names)})


def comparisons(result: JobResult) -> list[MetricComparison]:
    """Return one row for each metric of the final evaluation, in the tables' order."""
    sides = {side: values or {} for side, values in result.final.sides().items()}
    if not _is_fair(result):
        sides |= {"silo_only": {}, "centralised": {}}
    return [
        MetricComparison(
            name,
            **{side: values.get(name) for side, values in sides.items()},
            noise=(result.figures_noise or {}).get(name),
        )
        for name in judgement(result).metrics
    ]


def benefits(result: JobResult) -> list[ClientBenefit]:
    """Return the clients whose benefit is known, from the greatest gain to the greatest loss."""
    known = [
        ClientBenefit(one.client_id, one.cases, one.benefit, one.benefit_se, one.offer)
        for one in result.clients
        if one.benefit is not None and _is_fair(result)
    ]
    return sorted(known, key=lambda one: (-one.mean, one.client_id))


def overall_benefit(result: JobResult) -> ClientBenefit | None:
    """Return the benefit over the test cases of all clients; None if it is not known."""
    found = result.benefit
    if found is not None and _is_fair(result):
        return ClientBenefit("all clients", found.cases, found.mean, found.standard_error)
    # A result of an older version has the benefit of single clients only.
    return None if publishers(result) else benefit_together(benefits(result))


def publishers(result: JobResult) -> tuple[int, int] | None:
    """Return how many silos published their comparison, and of how many; None if each client's is known."""
    privacy = result.config.get("privacy")
    is_secure = isinstance(privacy, Mapping) and bool(privacy.get("secure_sum"))
    published = len(result.clients)
    return (published, result.data.clients) if is_secure and published < result.data.clients else None


def benefit_together(gains: Sequence[ClientBenefit]) -> ClientBenefit | None:
    """Return the benefit over all cases of these clients together; None without clients.

    A client's sums follow from its mean and error: sum = n * mean, and the sum of squares is
    n * (n - 1) * error² + n * mean² with n cases.
    """
    if not gains:
        return None
    cases = float(sum(one.cases for one in gains))
    squares = sum(
        one.cases * ((one.cases - 1) * (one.standard_error or 0.0) ** 2 + one.mean**2) for one in gains
    )
    both = benefit_of(
        Metric(sum(one.cases * one.mean for one in gains), cases),
        Metric(squares, cases),
    )
    return ClientBenefit("all clients", both.cases, both.mean, both.standard_error)


def offered_benefit(gains: Sequence[ClientBenefit]) -> float:
    """Return the mean benefit over all cases if each client uses the model that it is offered."""
    kept = sum(one.cases * one.mean for one in gains if one.offer == "global")
    return kept / sum(one.cases for one in gains)


def client_drifts(result: JobResult) -> list[ClientDrifts]:
    """Return the clients whose updates were compared, sorted by cosine, lowest first."""
    by_client: dict[str, list[ClientDrift]] = {}
    for one in result.rounds:
        for client_id, drift in one.client_drift.items():
            by_client.setdefault(client_id, []).append(drift)
    found = []
    for client_id, drifts in by_client.items():
        cosines, norms = [drift.cosine for drift in drifts], [drift.norm for drift in drifts]
        found.append(ClientDrifts(client_id, len(drifts), fmean(cosines), min(cosines), fmean(norms)))
    return sorted(found, key=lambda one: (one.cosine, one.client_id))


def time_shares(result: JobResult) -> list[TimeShare]:
    """Return the stages of the job with their seconds. The last row is the rest of the total."""
    timings = result.timings.by_name()
    seconds = {
        label: timings.get(key) or 0.0
        for key, label in STAGES.items()
        if timings.get(key) or key not in _REMOTE
    }
    named = sum(seconds.values())
    total = max(timings["total_s"], named)
    if total - named > _WORTH_NAMING * total:
        seconds[_OTHER] = total - named
    return [TimeShare(label, one, one / total if total else 0.0) for label, one in seconds.items()]


def contract_tallies(result: JobResult) -> list[ContractTally]:
    """Return one row for each contract, in the order of their first check."""
    by_contract: dict[str, list[ContractSummary]] = {}
    for outcome in result.contracts:
        by_contract.setdefault(outcome.contract, []).append(outcome)
    return [
        ContractTally(name, len(outcomes), tuple(one for one in outcomes if not one.passed))
        for name, outcomes in by_contract.items()
    ]


def rejections(result: JobResult) -> list[tuple[int, Rejection]]:
    """Return every rejection with its round."""
    return [(one.round, rejected) for one in result.rounds for rejected in one.rejected]


def verdict(result: JobResult) -> str:
    """Return one sentence with the job's outcome: the federated result, compared with the baselines."""
    if result.status != "finished":
        return f"The job stopped: {(result.stop_reason or 'no reason was recorded').rstrip('.')}."
    by = judgement(result)
    row = next(one for one in comparisons(result) if one.metric == by.quality)
    if row.federated is None:
        return "The job finished. It was not evaluated on the test split."
    against = []
    if row.to_centralised is not None:
        against.append(f"{row.to_centralised:.1%} of what pooling all data reaches")
    if row.to_silo_only is not None:
        overall = overall_benefit(result)
        is_chance = overall is not None and not (overall.clearly_gains or overall.clearly_loses)
        against.append(
            f"{row.to_silo_only:.2f} times what the clients reach alone"
            f"{' (chance can explain the difference)' if is_chance else ''}"
        )
    head = f"Federated training reached {by.quality_label} of {row.federated:.4f}"
    return f"{head}: {' and '.join(against)}." if against else f"{head}."


def notes(result: JobResult) -> list[str]:
    """Return the sentences beside the verdict: the best round, the rounds before, cases left out, privacy."""
    said = (
        _best_round(result),
        _taken_over(result),
        _origin(result),
        _left_out(result),
        _published(result),
        privacy_note(result),
    )
    return [each for each in said if each]


def how_users_are_scored(result: JobResult) -> str | None:
    """Return a sentence on the user vectors behind the federated rankings; None if these are not known."""
    sentences = {
        "trained": "Users are scored by the vectors that their clients trained with the items. "
        "fedrec evaluate has only the items and folds users in from their histories, so its figures differ.",
        "folded_in": "Users are scored by their histories, as in serving and by fedrec evaluate.",
    }
    if result.user_vectors is None or judgement(result) is not RANKINGS:
        return None
    return sentences[result.user_vectors]


def in_bytes(count: float) -> str:
    """Return a number of bytes as text in decimal units: 1500000 is "1.5 MB"."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= limit:
            return f"{count / limit:.1f} {unit}"
    return f"{count:.0f} B"


def _ratio(value: float | None, base: float | None) -> float | None:
    return value / base if value is not None and base else None


def _best_round(result: JobResult) -> str | None:
    """Return the sentences on the best round by validation; None if no round was evaluated."""
    best = result.best_round
    if best is None:
        return None
    version = "" if best.version is None else f" (version {best.version})"
    figure = f"has the best validation {judgement(result).quality_label}, {best.value:.4f}"
    if best.round == result.rounds[-1].round:
        return f"The last round, {best.round}{version}, {figure}."
    last = f"Round {best.round}{version} {figure}; the last evaluated round has {best.last_value:.4f}."
    return f"{last} The test figures are those of the last round." if result.final.federated else last


def _taken_over(result: JobResult) -> str | None:
    """Return the sentence that an earlier job trained the first rounds; None if this one trained all."""
    if result.continued is None:
        return None
    first = (
        "first round is that"
        if result.continued.round == 1
        else (f"first {result.continued.round} rounds are those")
    )
    return f"Its {first} of job {result.continued.job_id}."


def _is_fair(result: JobResult) -> bool:
    """Return whether the baselines had as many rounds as the model. Those of older versions had fewer."""
    return result.config.get("start_from") != "champion" or result.earlier is not None


def _origin(result: JobResult) -> str | None:
    """Return the sentence on the champion that the job started from; None if it started fresh."""
    if not _is_fair(result):
        return "It started from a champion, so its baselines had fewer rounds than it and are not compared."
    if result.earlier is None:
        return None
    started = f"It started from version {result.earlier.version}"
    rounds = result.earlier.rounds_with(len(result.rounds))
    if rounds is None:
        return f"{started}, whose rounds in all are not recorded, so it is compared with no baseline."
    has_baseline = bool(result.final.silo_only or result.final.centralised)
    beside = ", as many as each baseline has had on these data" if has_baseline else ""
    return f"{started} and has had {rounds} rounds in all{beside}."


def _published(result: JobResult) -> str | None:
    """Return the sentence that some silos published their comparison; None if none or all did."""
    found = publishers(result)
    if found is None or not found[0]:
        return None
    published, silos = found
    return (
        f"{published} of {silos} silos published {'its' if published == 1 else 'their'} comparison; the "
        "figures of all are sums."
    )


def _left_out(result: JobResult) -> str | None:
    """Return the sentences on the held-out cases that do not count; None if all do."""
    found = result.left_out
    if found is None or not found.validation + found.test:
        return None
    numbers = [
        f"{number} of {cases} {part} cases"
        for part, number, cases in (
            ("validation", found.validation, found.validation_cases),
            ("test", found.test, found.test_cases),
        )
        if cases
    ]
    said = (
        f"{' and '.join(numbers)} do not count, because earlier trainings of the model saw them or may have."
    )
    none_left = (found.validation, found.test) == (found.validation_cases, found.test_cases)
    return f"{said} A job with start_from: fresh can be evaluated." if none_left else said
