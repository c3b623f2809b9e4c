"""Records of a job. Parts that a test does not name have default values."""

from __future__ import annotations

from typing import Any

from models.federation.rounds import Rejection
from models.kernel.metric import Metric
from models.privacy.guarantee import Guarantee
from models.promotion.evidence import RoundEvaluation
from tasks.messages.job_opening import JobOpening
from tasks.messages.job_result import ClientResult, DataFacts, FinalMetrics, JobResult, RoundResult, Timings
from tasks.messages.late_update import LateUpdate
from tasks.messages.round_record import EvaluatedRound, RoundRecord

# What a job of a few silos promises to each user.
PROMISED = Guarantee(
    unit="user",
    epsilon=1.0,
    delta=1e-5,
    multiplier=3.73,
    summands=15,
    figures_share=0.1,
    noise_by="clients",
    account="users",
    budget=3.0,
    period="year",
)

CONFIG = {
    "name": "films",
    "model_name": "movies",
    "seed": 7,
    "train": {"family": "lightfm", "dims": 4},
    "runner": {"exchange": None},
}


def opening(**changes: Any) -> JobOpening:
    parts = {
        "config": CONFIG,
        "data_digest": "d" * 64,
        "git_revision": "abc",
        "opened_at": "2026-11-20T09:00:00.000+00:00",
        "starting_points": {},
    }
    return JobOpening(**parts | changes)


def round_record(round_: int, *accepted: str, **changes: Any) -> RoundRecord:
    parts = {
        "job_id": "films-1",
        "round": round_,
        "model_path": f"films-1/models/{round_}",
        "model_sha256": "f" * 64,
        "model_bytes": 10,
        "base_sha256": "b" * 64 if round_ else None,
        "catalog_digest": "c" * 64,
        "data_digest": "d" * 64,
        "accepted": accepted,
        "rejected": (),
        "contracts": {},
        "training": {},
        "committed_at": f"2026-11-20T10:00:{round_:02d}.250+00:00",
    }
    return RoundRecord(**parts | changes)


def evaluated_round(round_: int, evaluation: RoundEvaluation | None = None, **changes: Any) -> EvaluatedRound:
    return round_record(round_, "ash", **changes).with_evaluation(evaluation)


def evaluation(**clients: tuple[float, float]) -> RoundEvaluation:
    """Return an evaluation by NDCG@10, with the clients' sums and cases."""
    found = {client_id: {"ndcg@10": Metric(*pair)} for client_id, pair in clients.items()}
    sums = (sum(pair[place] for pair in clients.values()) for place in (0, 1))
    return RoundEvaluation("validation", {"ndcg@10": Metric(*sums)}, found)


def round_result(round_: int, **changes: Any) -> RoundResult:
    parts = {
        "round": round_,
        "version": round_,
        "accepted": ("ash",),
        "rejected": (),
        "metrics": {},
        "model_sha256": "f" * 64,
        "seconds": {"total": 1.0},
        "drift": 0.5,
        "client_drift": {},
        "update_bytes": 100,
    }
    return RoundResult(**parts | changes)


def client_result(client_id: str, benefit: float | None, error: float | None, **changes: Any) -> ClientResult:
    parts = {
        "client_id": client_id,
        "users": 3,
        "interactions": 40,
        "cases": 9,
        "federated": None,
        "silo_only": None,
        "benefit": benefit,
        "benefit_se": error,
    }
    return ClientResult(**parts | changes)


def job_result(**changes: Any) -> JobResult:
    parts = {
        "job_id": "films-1",
        "run_id": "run-77",
        "flow_run_id": "flow-1",
        "model_name": "movies",
        "model_sha256": "ab" * 32,
        "report": "films-1/report",
        "seed": 7,
        "status": "finished",
        "stop_reason": None,
        "config": CONFIG,
        "data": DataFacts("cd" * 32, 3, 9, 50, 12345),
        "rounds": (),
        "final": FinalMetrics(),
        "clients": (),
        "contracts": (),
        "timings": Timings(total_s=1.0),
    }
    return JobResult(**parts | changes)


def late_update(round_: int, client_id: str) -> LateUpdate:
    return LateUpdate(
        round=round_,
        client_id=client_id,
        reason="its update came at most 1.0 s after its round was over",
        seconds_late=1.0,
        sha256="c" * 64,
        answer_sha256="a" * 64,
        seen_at="2026-11-20T10:00:30.000+00:00",
    )


def rejection(client_id: str, reason: str = "deadline of 5 s passed") -> Rejection:
    return Rejection(client_id, "deadline", reason)
