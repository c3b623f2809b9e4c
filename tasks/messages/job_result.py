"""The result of a job: the one record that the report, MLflow, the terminal and programs read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import JsonValue

from data_contracts.outcome import ContractName
from models.evaluation.benefit import Benefit
from models.evaluation.judgement import judgement_of
from models.federation.client_drift import ClientDrift
from models.federation.rounds import Rejection
from models.privacy.guarantee import Guarantee
from tasks.messages.earlier_training import EarlierTraining
from tasks.messages.job_opening import Continued
from tasks.messages.late_update import LateUpdate
from tasks.messages.record import Record
from tasks.messages.round_record import TrackedRound

Values = Mapping[str, float]
UserVectors = Literal["trained", "folded_in"]

_VALIDATION = "validation/"


@dataclass(frozen=True)
class DataFacts:
    """Facts about a job's training data.

    Attributes:
        digest: digest of the data.
        clients, items: their numbers.
        users, interactions: their numbers; None if a client does not tell them, because it takes part in
            secure sums or adds noise.
        trained_users, trained_interactions: those that the first round trained on, without held-out cases;
            known from its secure sums, and None if clients tell all of their own or add noise.
    """

    digest: str
    clients: int
    users: int | None
    items: int
    interactions: int | None
    trained_users: int | None = None
    trained_interactions: int | None = None


@dataclass(frozen=True, kw_only=True)
class RoundResult:
    """The result of one round.

    Attributes:
        round: number of the round.
        version: version number in the registry; None until MLflow has assigned one.
        accepted, rejected: clients whose updates are in the model, and clients without one in it.
        metrics: single numbers by name, such as "validation/ndcg@10".
        model_sha256: SHA-256 of the round's model.
        seconds: wall seconds by activity, and their "total".
        drift: norm of the change of the embeddings, relative to their norm before.
        client_drift: client id -> its update compared with the sum of all.
        update_bytes: total size of the accepted updates, with all messages of a secure sum.
        download_bytes: total size of what the clients that answered were sent; None if that is not known.
    """

    round: int
    version: int | None
    accepted: tuple[str, ...]
    rejected: tuple[Rejection, ...]
    metrics: Values
    model_sha256: str
    seconds: Values
    drift: float | None
    client_drift: Mapping[str, ClientDrift]
    update_bytes: int
    download_bytes: int | None = None

    def with_note(self, note: TrackedRound | None) -> RoundResult:
        """Return the round with the version and the times from its note, if there is one."""
        if note is None:
            return replace(self, version=None, seconds={})
        return replace(self, version=note.version, seconds=note.seconds)


@dataclass(frozen=True, kw_only=True)
class BestRound:
    """The round with the best deciding metric on the validation cases, never on the test cases.

    Attributes:
        round: number of the round.
        version: version number in the registry; None until MLflow has assigned one.
        metric: name of the metric.
        value: its value after this round.
        last_value: its value after the job's last evaluated round.
    """

    round: int
    version: int | None
    metric: str
    value: float
    last_value: float


def best_of(rounds: Sequence[RoundResult]) -> BestRound | None:
    """Return the best round of a job; None if no round was evaluated."""
    by = judgement_of({name.removeprefix(_VALIDATION) for one in rounds for name in one.metrics})
    name = f"{_VALIDATION}{by.quality}"
    found = {one.round: one.metrics[name] for one in rounds if name in one.metrics}
    best = by.best(found)
    if best is None:
        return None
    version = next(one.version for one in rounds if one.round == best)
    return BestRound(
        round=best, version=version, metric=by.quality, value=found[best], last_value=found[max(found)]
    )


@dataclass(frozen=True, kw_only=True)
class FinalMetrics:
    """Metrics on the test cases by name, for each kind of training; None if one was not computed.

    Attributes:
        federated: metrics of the federated model.
        centralised: metrics of a model trained on the pooled data.
        silo_only: metrics of models trained on each client's data only.
    """

    federated: Values | None = None
    centralised: Values | None = None
    silo_only: Values | None = None

    def sides(self) -> dict[str, Values | None]:
        """Return the metrics by kind of training."""
        return dict(vars(self))


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """Numbers of held-out cases that do not count, and of all cases.

    Attributes:
        validation, validation_cases: in the job's last evaluated round.
        test, test_cases: at the end of the job.
    """

    validation: int
    validation_cases: int
    test: int
    test_cases: int


@dataclass(frozen=True, kw_only=True)
class ClientResult:
    """One client's result of the job.

    Attributes:
        client_id: the client.
        users, interactions: numbers of its users and interactions; None if it does not tell them.
        cases: number of its test cases.
        federated, silo_only: metrics on them by name; None if not computed.
        benefit, benefit_se: mean benefit of joining per test case, and its standard error; None if unknown.
        validation_benefit, validation_benefit_se: the same over its validation cases.
        offer: "global", or "local" if the client's own model is clearly better on validation.
    """

    client_id: str
    users: int | None
    interactions: int | None
    cases: int
    federated: Values | None
    silo_only: Values | None
    benefit: float | None
    benefit_se: float | None
    validation_benefit: float | None = None
    validation_benefit_se: float | None = None
    offer: str = "global"


@dataclass(frozen=True)
class ContractSummary:
    """One check of a contract.

    Attributes:
        contract: name of the contract.
        subject: a client id, or `round-7`.
        passed: whether the data passed.
        summary: one line for people.
    """

    contract: ContractName
    subject: str
    passed: bool
    summary: str


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Wall seconds of a job by activity, which add up to `total_s`; `tasks.jobs.timings` measures them.

    Attributes:
        tracking_s: seconds that the job waited for MLflow.
        tracking_beside_s: seconds in which rounds were sent to MLflow beside the job. Not in the sum.
        training_cpu_s: CPU seconds of the clients' training, the time of a bare loop of the same calls.
        overhead_ratio: the total without start-up and baselines, divided by training_cpu_s; None if
            nothing was trained.
    """

    total_s: float
    startup_s: float = 0.0
    train_s: float = 0.0
    transfer_s: float = 0.0
    polling_s: float = 0.0
    merge_s: float = 0.0
    contracts_s: float = 0.0
    tracking_s: float = 0.0
    evaluate_s: float = 0.0
    baselines_s: float = 0.0
    report_s: float = 0.0
    orchestration_s: float = 0.0
    tracking_beside_s: float = 0.0
    training_cpu_s: float = 0.0
    overhead_ratio: float | None = None

    def by_name(self) -> dict[str, float]:
        """Return the known values by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class JobResult(Record):
    """The result of a job, as stored in `result.json`.

    Attributes:
        job_id, flow_run_id: the job, and the Prefect flow run that concluded it.
        run_id: the MLflow run; None if MLflow has been unavailable since the job was opened.
        experiment_id: the run's experiment in MLflow; None if it has no run.
        model_name, model_sha256: the registered model, and the digest of the newest committed model.
        report: the folder of the report.
        seed: the job's seed.
        status: "finished", or "stopped" for a job that can continue.
        stop_reason: why it stopped; None for a finished job.
        config: the training configuration as JSON values.
        data: facts about the training data.
        rounds: the rounds, from round 1 on.
        late: updates that came after their rounds.
        final: metrics on the test cases.
        clients: the result of each client; of secure sums only of those that publish it.
        benefit: of joining, over the test cases of all clients; None if it was not computed, and in results
            of older versions.
        contracts: every check of a contract.
        timings: where the wall time went.
        user_vectors: how the federated model scored users: by vectors trained with the items, or folded in
            from their histories, as in serving; None in results of older versions.
        examples: titles or ids of two items, for the commands that are printed after the job; None in results
            of older versions.
        continued: the earlier job whose first rounds this one has taken over; None if there is none.
        best: the best round on the validation cases; None if no round was evaluated, and in results of older
            versions.
        earlier: the training of the champion that the job started from; None for a fresh model, and in
            results of older versions.
        left_out: held-out cases that do not count, because earlier jobs of the model's lineage trained on
            them, or may have; None if there are no such jobs.
        privacy: what the job promises to each of its users; None if clients add no noise.
        account_epsilon: the epsilon that the account had spent in its period at the end of the job; None
            without `privacy`.
        figures_noise: by how much noise alone moves each metric of the final federated model, as half the
            width of a 95 % interval; None without noise or figures, and in results of older versions.
    """

    job_id: str
    run_id: str | None
    flow_run_id: str
    model_name: str
    model_sha256: str
    report: str
    seed: int
    status: Literal["finished", "stopped"]
    stop_reason: str | None
    config: Mapping[str, JsonValue]
    data: DataFacts
    rounds: tuple[RoundResult, ...]
    late: tuple[LateUpdate, ...] = ()
    final: FinalMetrics
    clients: tuple[ClientResult, ...]
    contracts: tuple[ContractSummary, ...]
    timings: Timings
    experiment_id: str | None = None
    user_vectors: UserVectors | None = None
    examples: tuple[str, ...] | None = None
    continued: Continued | None = None
    best: BestRound | None = None
    earlier: EarlierTraining | None = None
    left_out: LeftOut | None = None
    privacy: Guarantee | None = None
    account_epsilon: float | None = None
    figures_noise: Values | None = None
    benefit: Benefit | None = None

    @property
    def best_round(self) -> BestRound | None:
        """Return the best round, also of a result of an older version."""
        return self.best or best_of(self.rounds)

    def with_rounds(self, rounds: tuple[RoundResult, ...]) -> JobResult:
        """Return the result with these rounds, and with the best of them."""
        return replace(self, rounds=rounds, best=best_of(rounds))
