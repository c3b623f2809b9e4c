"""The gates that a candidate must pass. Each checks one requirement and reports what it observed.

All gates are pure functions. They use validation figures only, so no choice depends on the test split.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from models.errors import InvalidInput
from models.evaluation.judgement import judgement_of
from models.evaluation.trained_pairs import LEFT_OUT
from models.kernel.metric import LOWER_IS_BETTER, Metric, display_value
from models.privacy.figure_noise import noise_margin
from models.promotion.evidence import RoundEvaluation, RoundEvidence, ShownItems, Trial
from models.promotion.exposure import ExposurePolicy
from models.promotion.exposure_gate import exposure_gate
from models.promotion.privacy_gate import Spend, privacy_gate
from models.promotion.verdict import GateVerdict

_ROUNDING = 1e-12


@dataclass(frozen=True)
class PromotionPolicy:
    """The thresholds that the gates apply to a candidate.

    Attributes:
        quality_metric: metric compared over all clients; None for the default of the candidate's kind.
        tolerance: share of the champion's value by which the candidate may be worse, in [0, 1).
        client_metric: metric compared client by client; None for the default of the candidate's kind. A
            client has few held-out cases, so choose a metric with high values, which needs fewer cases to
            tell a drop from chance.
        max_client_drop: share of the champion's value that a client may lose, in [0, 1).
        z: one-sided normal quantile; 1.645 for 95 %.
        exposure: how far an item's share of lists may jump.
        max_epsilon: the largest epsilon of differential privacy; None to accept versions without it, too.
    """

    quality_metric: str | None = None
    tolerance: float = 0.02
    client_metric: str | None = None
    max_client_drop: float = 0.2
    z: float = 1.645
    exposure: ExposurePolicy = field(default_factory=ExposurePolicy)
    max_epsilon: float | None = None

    def __post_init__(self) -> None:
        for name in ("tolerance", "max_client_drop"):
            share = getattr(self, name)
            if not 0.0 <= share < 1.0:
                raise InvalidInput(f"The share {name!r} must lie in [0, 1), got {share}.")
        if self.max_epsilon is not None and not self.max_epsilon > 0.0:
            raise InvalidInput(f"The largest epsilon must be above 0, got {self.max_epsilon}.")

    def of(self, candidate: RoundEvidence) -> PromotionPolicy:
        """Return the policy with the default metrics of the candidate's kind filled in."""
        judgement = judgement_of(candidate.evaluation.metrics if candidate.evaluation else ())
        return replace(
            self,
            quality_metric=self.quality_metric or judgement.quality,
            client_metric=self.client_metric or judgement.client_metric,
        )


def judge(
    candidate: RoundEvidence,
    trial: Trial,
    champion: RoundEvidence | None,
    shown: ShownItems,
    policy: PromotionPolicy,
    lost: Sequence[int] = (),
    spend: Spend | None = None,
) -> tuple[GateVerdict, ...]:
    """Return the verdicts of all gates in a fixed order. Every gate is checked, even after one has failed.

    Args:
        candidate: the evidence of the candidate.
        trial: of the candidate's artefact.
        champion: the champion, or the newest earlier one with evidence if the champion is lost; None if there
            is none.
        shown: the items that the candidate and earlier champions recommend.
        policy: the thresholds.
        lost: newer champions, which cannot be compared with because they, or their records, no longer exist.
            The verdicts name them.
        spend: what the account of the candidate's job says; None if the candidate promises no privacy.
    """
    return (
        contracts_gate(candidate),
        artefact_gate(trial),
        _named(quality_gate(candidate, champion, policy), lost),
        _named(clients_gate(candidate, champion, policy), lost),
        exposure_gate(shown, policy.exposure),
        privacy_gate(candidate.privacy, spend or Spend(), policy.max_epsilon),
    )


def contracts_gate(candidate: RoundEvidence) -> GateVerdict:
    """Pass a candidate if its round passed every contract.

    After a breach of the update contract, the round only went on without the client in breach. The gate
    refuses nevertheless, because a person should look at a breach before the round's model serves users.
    """
    breached = sorted(name for name, outcome in candidate.contracts.items() if outcome != "passed")
    observed = ", ".join(f"{name} {outcome}" for name, outcome in sorted(candidate.contracts.items()))
    return GateVerdict(
        gate="contracts",
        passed=bool(candidate.contracts) and not breached,
        observed=observed or "no contract was checked",
        required="every contract of the round passed",
    )


def artefact_gate(trial: Trial) -> GateVerdict:
    """Pass a candidate if its artefact loads and gives finite scores that are not all equal."""
    usable = trial.error is None and trial.finite == trial.scores and trial.distinct > 1
    figures = f"{trial.finite} of {trial.scores} scores finite, {trial.distinct} distinct"
    return GateVerdict(
        gate="artefact",
        passed=usable,
        observed=trial.error or f"loads; {figures}",
        required="it loads as registered, and its scores are finite and not all equal",
    )


def quality_gate(
    candidate: RoundEvidence, champion: RoundEvidence | None, policy: PromotionPolicy
) -> GateVerdict:
    """Pass a candidate if its value is at least (1 - tolerance) times the champion's.

    If the metric is an error, its value must be at most (1 + tolerance) times the champion's.

    Noise moves the figures of versions with differential privacy. The candidate may be worse by so much more
    as noise alone moves the difference of its value and (1 - tolerance) times the champion's, as half the
    width of a 95 % interval. Without that a lucky champion would refuse all that follow.

    Each version is measured on the validation split of its own data. If the data changed in between, the two
    splits differ. The gate compares them nevertheless, because retraining on new data is the usual case, and
    the verdict says that the data differ.
    """
    name = str(policy.of(candidate).quality_metric)
    is_error = name in LOWER_IS_BETTER
    factor = 1.0 + policy.tolerance if is_error else 1.0 - policy.tolerance
    required = f"{name} at {'most' if is_error else 'least'} {factor:g} times the champion's, on validation"
    mine = _value(candidate.evaluation, name)
    if mine is None:
        return GateVerdict("quality", False, _lacks(candidate, name), required)
    if champion is None:
        alone = f"{name} {_with_noise(candidate, name, mine)}; there is no champion to compare with"
        return GateVerdict("quality", True, f"{alone}{_left_out(candidate)}", required)
    theirs = _value(champion.evaluation, name)
    if theirs is None:
        return GateVerdict("quality", False, _lacks(champion, name), required)
    limit = factor * theirs
    margin = math.hypot(_margin(candidate, name), factor * _margin(champion, name))
    bound = limit + margin if is_error else limit - margin
    required = f"{required}: {limit:.4f}"
    if margin:
        required = f"{required}, {'plus' if is_error else 'less'} {margin:.4f} for noise: {bound:.4f}"
    return GateVerdict(
        gate="quality",
        passed=mine <= bound + _ROUNDING if is_error else mine >= bound - _ROUNDING,
        observed=f"{name} {_with_noise(candidate, name, mine)} against "
        f"{_with_noise(champion, name, theirs)} of version {champion.version}"
        f"{_within_noise(mine, limit, margin, is_error=is_error)}"
        f"{_across_data(candidate, champion)}{_left_out(candidate, champion)}",
        required=required,
    )


def clients_gate(
    candidate: RoundEvidence, champion: RoundEvidence | None, policy: PromotionPolicy
) -> GateVerdict:
    """Pass a candidate unless a client dropped further than the policy allows, by more than chance.

    Clients in only one of the two evaluations, and clients with too few cases to tell a drop from chance (see
    `client_floor`), are not judged. The verdict counts the judged clients and names those that dropped.
    """
    name = str(policy.of(candidate).client_metric)
    required = (
        f"no client's {name} below {1 - policy.max_client_drop:g} times its champion's by more than chance "
        f"(z {policy.z:g})"
    )
    if _value(candidate.evaluation, name) is None:
        return GateVerdict("clients", False, _lacks(candidate, name), required)
    if champion is None:
        return GateVerdict("clients", True, "there is no champion to compare with", required)
    if _value(champion.evaluation, name) is None:
        return GateVerdict("clients", False, _lacks(champion, name), required)
    if candidate.evaluation and not candidate.evaluation.clients:
        observed = "the clients' own figures are inside a secure sum; each silo's owner can compare them"
        if candidate.privacy:
            observed = "only sums over all clients are told, with noise"
        return GateVerdict("clients", True, observed, required)
    pairs = _pairs(candidate, champion, name)
    floors = {client: client_floor(after, before, policy) for client, (after, before) in pairs.items()}
    dropped = [
        f"{client} dropped from {before.value:.4f} to {after.value:.4f} (floor {floors[client]:.4f}, "
        f"{after.weight:g} cases)"
        for client, (after, before) in pairs.items()
        if after.value < floors[client] - _ROUNDING
    ]
    judged = sum(floor > 0.0 for floor in floors.values())
    outcome = "; ".join(dropped) or f"none of them dropped too far{_nearest(pairs, floors)}"
    return GateVerdict(
        gate="clients",
        passed=not dropped,
        observed=f"{judged} of {len(pairs)} clients have enough cases to be judged; {outcome}"
        f"{_across_data(candidate, champion)}",
        required=required,
    )


def _nearest(pairs: Mapping[str, tuple[Metric, Metric]], floors: Mapping[str, float]) -> str:
    """Return which judged client is nearest to its floor, in words; empty if no client is judged."""
    above = {client: pairs[client][0].value - floor for client, floor in floors.items() if floor > 0.0}
    if not above:
        return ""
    client = min(above, key=lambda each: (above[each], each))
    after, before = pairs[client]
    return (
        f", and nearest to its floor is {client}: {after.value:.4f} with floor {floors[client]:.4f} "
        f"(before {before.value:.4f})"
    )


def _named(verdict: GateVerdict, lost: Sequence[int]) -> GateVerdict:
    """Return the verdict with the champions that could not be compared with."""
    if not lost:
        return verdict
    versions = ", ".join(map(str, lost))
    return replace(verdict, observed=f"{verdict.observed} (no longer there to compare with: {versions})")


def client_floor(after: Metric, before: Metric, policy: PromotionPolicy) -> float:
    """Return the lowest value of a client that does not count as a drop.

    With the champion's mean p over n cases, the candidate's number of cases m and the allowed share d, the
    lowest allowed true value is f = (1 - d) p, and the floor is

        min( f - z sqrt( p (1 - p) / n  +  f (1 - f) / m ),  p - 1 / m )

    The root is an upper bound of the standard error of a difference of two means. Values in [0, 1] with mean
    p have a variance of at most p (1 - p) (Bhatia and Davis 2000). The two evaluations are treated as
    independent, although they share most users and so their errors are correlated. Because of the second term
    a single case cannot refuse a candidate. A floor of 0 or less means too few cases: no value can be below
    it.

    Args:
        after, before: the client's metric, in [0, 1], under candidate and champion; with positive weights.
        policy: gives d and z.
    """
    p = min(max(before.value, 0.0), 1.0)
    f = (1.0 - policy.max_client_drop) * p
    error = math.sqrt(p * (1.0 - p) / before.weight + f * (1.0 - f) / after.weight)
    return min(f - policy.z * error, p - 1.0 / after.weight)


def _pairs(
    candidate: RoundEvidence, champion: RoundEvidence, name: str
) -> Mapping[str, tuple[Metric, Metric]]:
    """Return client -> (after, before) for the clients with cases in both evaluations, sorted by id."""
    after, before = _of_clients(candidate, name), _of_clients(champion, name)
    return {client: (after[client], before[client]) for client in sorted(after.keys() & before.keys())}


def _of_clients(evidence: RoundEvidence, name: str) -> dict[str, Metric]:
    """Return client -> its metric for the clients with cases."""
    clients = evidence.evaluation.clients if evidence.evaluation else {}
    found = {client: metrics.get(name) for client, metrics in clients.items()}
    return {client: metric for client, metric in found.items() if metric and metric.weight}


def _value(evaluation: RoundEvaluation | None, name: str) -> float | None:
    """Return the displayed value of a metric, or None if it was not measured."""
    metric = evaluation.metrics.get(name) if evaluation else None
    return display_value(name, metric.value) if metric and metric.weight > 0.0 else None


def _margin(evidence: RoundEvidence, name: str) -> float:
    """Return by how much noise alone moves a metric's value; 0 without noise."""
    metrics = evidence.evaluation.metrics if evidence.evaluation else {}
    if evidence.privacy is None or not evidence.privacy.figures_share:
        return 0.0
    return noise_margin(metrics[name], evidence.privacy.plan, len(metrics), evidence.clients)


def _with_noise(evidence: RoundEvidence, name: str, value: float) -> str:
    """Return a metric's value as text, and by how much noise alone moves it."""
    margin = _margin(evidence, name)
    return f"{value:.4f} (± {margin:.4f} by noise)" if margin else f"{value:.4f}"


def _within_noise(mine: float, limit: float, margin: float, *, is_error: bool) -> str:
    """Return what noise of this margin lets the gate tell, as further text."""
    worse = mine - limit if is_error else limit - mine
    if margin and margin >= limit:
        return " (noise is as large as the limit, so these figures do not tell which version is better)"
    return " (worse than the tolerance, by no more than noise)" if _ROUNDING < worse <= margin else ""


def _lacks(evidence: RoundEvidence, name: str) -> str:
    if evidence.evaluation is None and evidence.privacy and not evidence.privacy.figures_share:
        return (
            f"version {evidence.version} (round {evidence.round}) was not evaluated, because its job spent "
            "nothing on figures; train with privacy.figures_share above 0"
        )
    if evidence.evaluation is None and evidence.privacy:
        return (
            f"version {evidence.version} (round {evidence.round}) was not evaluated, because its job "
            "pays for the noise of one evaluation; promote the version of its last round"
        )
    if evidence.evaluation is None:
        return (
            f"version {evidence.version} (round {evidence.round}) was not evaluated; promote a round that "
            "was, such as the job's last, or train with a shorter evaluation interval"
        )
    if evidence.privacy and name in evidence.evaluation.metrics:
        return (
            f"the noise of version {evidence.version} leaves no case of {name!r}; train with a larger "
            "privacy.figures_share or privacy.epsilon, or with more users"
        )
    left_out = evidence.evaluation.metrics.get(LEFT_OUT)
    if left_out and left_out.weight and left_out.total == left_out.weight:
        return (
            f"version {evidence.version} has no validation case that counts{_left_out(evidence)}; promote a "
            "version of a job with start_from: fresh"
        )
    known = ", ".join(sorted(evidence.evaluation.metrics)) or "none"
    return f"version {evidence.version} has no value of {name!r}; it has: {known}"


def _across_data(candidate: RoundEvidence, champion: RoundEvidence) -> str:
    """Return how the two versions were measured on different cases, as further text."""
    if candidate.data_digest != champion.data_digest:
        return (
            f" (measured on other data: candidate {candidate.data_digest[:12]}, "
            f"champion {champion.data_digest[:12]})"
        )
    seeds = candidate.evaluation_seed, champion.evaluation_seed
    if None in seeds or seeds[0] == seeds[1]:
        return ""
    return f" (measured with another evaluation.seed: candidate {seeds[0]}, champion {seeds[1]})"


def _left_out(*compared: RoundEvidence) -> str:
    """Return how many cases do not count, because earlier trainings saw them, as further text."""
    found = ((each.version, each.evaluation.metrics.get(LEFT_OUT)) for each in compared if each.evaluation)
    return "".join(
        f"; {int(metric.total)} of {int(metric.weight)} cases of version {version} left out, because earlier "
        "trainings of the model saw them or may have"
        for version, metric in found
        if metric and metric.total
    )
