"""What a silo computed about itself: the common model beside one trained on its own data alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from models.errors import CorruptArtifact, ForgedAnswer
from models.evaluation.benefit import DIFFERENCE, SQUARED_DIFFERENCE, Benefit, Offer, benefit_of, offer_of
from models.federation.envelope import read_envelope
from models.kernel.metric import Metric
from models.ledger.chain import Entry
from tasks.exchange.layout import silo_answers_folder
from tasks.exchange.store import Exchange

_STEP = "compare"


@dataclass(frozen=True)
class ComparedAlone:
    """The last round of a job, compared inside the silo on its users' test cases.

    Attributes:
        job_id, round: the job and its round.
        common, alone: mean of each metric with the common model, and with that of the silo's data alone.
        benefit: the difference of the deciding metric, common minus alone, on the same cases.
        offer: the model to offer the silo's users, chosen on other cases.
    """

    job_id: str
    round: int
    common: Mapping[str, float]
    alone: Mapping[str, float]
    benefit: Benefit
    offer: Offer


def own_comparisons(entries: Iterable[Entry], exchange: Exchange, silo: str) -> list[ComparedAlone]:
    """Return the comparisons whose answers are still there, the oldest first.

    Args:
        entries: of the silo's egress ledger, which names each answer.
        exchange: where the answers are.
        silo: the silo.
    """
    found: dict[str, ComparedAlone] = {}
    for entry in entries:
        body = entry.body
        if body["type"] == "refused" or body["what"] != _STEP:
            continue
        folder = silo_answers_folder(silo, body["job_id"], body["round"], _STEP)
        for ref in exchange.listed(folder):
            if ref.sha256 != body["sha256"]:
                continue
            try:
                envelope, _ = read_envelope(exchange.get(ref), silo)
            except (CorruptArtifact, ForgedAnswer):
                continue
            if envelope.body["alone"]:
                found[body["job_id"]] = _comparison(body["job_id"], body["round"], envelope.body)
    return list(found.values())


def _comparison(job_id: str, round_: int, body: Mapping[str, Any]) -> ComparedAlone:
    def means(part: str) -> dict[str, float]:
        metrics = {name: Metric(**value) for name, value in body[part].items()}
        return {name: each.value for name, each in metrics.items() if each.weight}

    def benefit(part: str) -> Benefit:
        sums = body[part]
        return benefit_of(Metric(**sums[DIFFERENCE]), Metric(**sums[SQUARED_DIFFERENCE]))

    common, alone = means("metrics"), means("alone")
    both = sorted(common.keys() & alone.keys())
    return ComparedAlone(
        job_id,
        round_,
        {name: common[name] for name in both},
        {name: alone[name] for name in both},
        benefit("benefit"),
        offer_of(benefit("choice")),
    )
