"""Gates: each asks one question about a candidate and answers with what it saw and what it required.

All are pure and look at validation figures only, so that the test split stays unseen by every choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from models.errors import InvalidInput
from models.evaluation.judgement import judgement_of
from models.kernel.metric import LOWER_IS_BETTER, Metric, shown
from models.promotion.evidence import RoundEvaluation, RoundEvidence, Trial

_ROUNDING = 1e-12


@dataclass(frozen=True)
class GateVerdict:
    """One gate's answer.

    Attributes:
        gate: its name.
        passed: whether the candidate may pass.
        observed, required: what was seen and what was asked for, in words.
    """

    gate: str
    passed: bool
    observed: str
    required: str


@dataclass(frozen=True)
class PromotionPolicy:
    """What a candidate must show.

    Attributes:
        quality_metric: compared over all clients; None for the one by which models of the candidate's kind
            are judged.
        tolerance: share of the champion's value that the candidate may lack, or have more of an error, in
            [0, 1).
        client_metric: compared client by client; None likewise. A client has few held-out cases, so this
            should be a metric with a high value, which needs fewer cases to tell a fall from luck.
        max_client_drop: share of its champion's value that a client may lose, in [0, 1).
        z: one-sided normal quantile; 1.645 stands for 95 %.
    """

    quality_metric: str | None = None
    tolerance: float = 0.02
    client_metric: str | None = None
    max_client_drop: float = 0.2
    z: float = 1.645

    def __post_init__(self) -> None:
        for name in ("tolerance", "max_client_drop"):
            share = getattr(self, name)
            if not 0.0 <= share < 1.0:
                raise InvalidInput(f"The share {name!r} must lie in [0, 1), got {share}.")

    def of(self, candidate: RoundEvidence) -> PromotionPolicy:
        """The policy with the metrics by which models of the candidate's kind are judged."""
        by = judgement_of(candidate.evaluation.metrics if candidate.evaluation else ())
        return replace(
            self,
            quality_metric=self.quality_metric or by.quality,
            client_metric=self.client_metric or by.of_clients,
        )


def judge(
    candidate: RoundEvidence, trial: Trial, champion: RoundEvidence | None, policy: PromotionPolicy
) -> tuple[GateVerdict, ...]:
    """The verdicts of all gates, in a fixed order; each is asked even where another failed."""
    return (
        contracts_gate(candidate),
        artefact_gate(trial),
        quality_gate(candidate, champion, policy),
        clients_gate(candidate, champion, policy),
    )


def contracts_gate(candidate: RoundEvidence) -> GateVerdict:
    """Passes where every contract of the candidate's own round was passed.

    A breach of the update contract only cost the breaching client its place in the round; the gate refuses
    all the same, because a breach asks for a person's look before its round serves users.
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
    """Passes where the artefact loads and gives finite scores that tell items apart."""
    usable = trial.error is None and trial.finite == trial.scores and trial.distinct > 1
    figures = f"{trial.finite} of {trial.scores} scores finite, {trial.distinct} distinct"
    return GateVerdict(
        gate="artefact",
        passed=usable,
        observed=trial.error or f"loads; {figures}",
        required="it loads as registered, and its scores are finite and not all alike",
    )


def quality_gate(
    candidate: RoundEvidence, champion: RoundEvidence | None, policy: PromotionPolicy
) -> GateVerdict:
    """Passes where the candidate reaches (1 - tolerance) times the champion's value, or as little error.

    An error may be at most (1 + tolerance) times the champion's.

    Each is measured on the validation split of its own data. Where data came or went in between, the two
    splits differ: the comparison is still made, since retraining on new data is the usual case, and the
    verdict says that it crosses data.
    """
    name = str(policy.of(candidate).quality_metric)
    is_error = name in LOWER_IS_BETTER
    factor = 1.0 + policy.tolerance if is_error else 1.0 - policy.tolerance
    required = f"{name} at {'most' if is_error else 'least'} {factor:g} times the champion's, on validation"
    mine = _value(candidate.evaluation, name)
    if mine is None:
        return GateVerdict("quality", False, _lacks(candidate, name), required)
    if champion is None:
        return GateVerdict(
            "quality", True, f"{name} {mine:.4f}; there is no champion to compare with", required
        )
    theirs = _value(champion.evaluation, name)
    if theirs is None:
        return GateVerdict("quality", False, _lacks(champion, name), required)
    limit = factor * theirs
    return GateVerdict(
        gate="quality",
        passed=mine <= limit + _ROUNDING if is_error else mine >= limit - _ROUNDING,
        observed=f"{name} {mine:.4f} against {theirs:.4f} of version {champion.version}"
        f"{_across_data(candidate, champion)}",
        required=f"{required}: {limit:.4f}",
    )


def clients_gate(
    candidate: RoundEvidence, champion: RoundEvidence | None, policy: PromotionPolicy
) -> GateVerdict:
    """Passes where no client has fallen further than the policy allows, beyond what luck explains.

    Clients that only one of the two evaluations knows, and clients with too few cases to tell a fall from
    luck (see `client_floor`), are not judged; the verdict counts the judged ones and names the fallen.
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
    pairs = _pairs(candidate, champion, name)
    floors = {client: client_floor(after, before, policy) for client, (after, before) in pairs.items()}
    fallen = [
        f"{client} fell from {before.value:.4f} to {after.value:.4f} (floor {floors[client]:.4f}, "
        f"{after.weight:g} cases)"
        for client, (after, before) in pairs.items()
        if after.value < floors[client] - _ROUNDING
    ]
    judged = sum(floor > 0.0 for floor in floors.values())
    outcome = "; ".join(fallen) or "none of them fell too far"
    return GateVerdict(
        gate="clients",
        passed=not fallen,
        observed=f"{judged} of {len(pairs)} clients have enough cases to be judged; {outcome}"
        f"{_across_data(candidate, champion)}",
        required=required,
    )


def client_floor(after: Metric, before: Metric, policy: PromotionPolicy) -> float:
    """The least value of a client that still counts as kept.

    With the champion's mean p over n cases, the candidate's number of cases m and the allowed share d, the
    lowest allowed true value is f = (1 - d) p, and the floor is

        min( f - z sqrt( p (1 - p) / n  +  f (1 - f) / m ),  p - 1 / m )

    The root is an upper bound of the standard error of a difference of two means: values in [0, 1] with mean
    p have at most the variance p (1 - p) (Bhatia and Davis 2000), and the two evaluations, which mostly ask
    the same users and so err together, are taken as independent. The second term keeps a single case from
    refusing anything. A floor of 0 or less means too few cases: nothing could fall below it.

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
    """Client -> (after, before), for the clients that have cases in both, in order of their ids."""
    after, before = _of_clients(candidate, name), _of_clients(champion, name)
    return {client: (after[client], before[client]) for client in sorted(after.keys() & before.keys())}


def _of_clients(one: RoundEvidence, name: str) -> dict[str, Metric]:
    """Client -> its metric, for the clients that have cases."""
    clients = one.evaluation.clients if one.evaluation else {}
    found = {client: metrics.get(name) for client, metrics in clients.items()}
    return {client: metric for client, metric in found.items() if metric and metric.weight}


def _value(evaluation: RoundEvaluation | None, name: str) -> float | None:
    """What is shown of a metric, or None where it was not measured."""
    metric = evaluation.metrics.get(name) if evaluation else None
    return shown(name, metric.value) if metric and metric.weight else None


def _lacks(one: RoundEvidence, name: str) -> str:
    if one.evaluation is None:
        return (
            f"version {one.version} (round {one.round}) was not evaluated; promote a round that was, such as "
            "the job's last, or train with a shorter evaluation interval"
        )
    known = ", ".join(sorted(one.evaluation.metrics)) or "none"
    return f"version {one.version} has no value of {name!r}; it has: {known}"


def _across_data(candidate: RoundEvidence, champion: RoundEvidence) -> str:
    if candidate.data_digest == champion.data_digest:
        return ""
    return (
        f" (measured on other data: candidate {candidate.data_digest[:12]}, "
        f"champion {champion.data_digest[:12]})"
    )
