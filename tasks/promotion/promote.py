"""The side effects of a promotion: collecting evidence for the gates, and moving the registry's aliases.

The order is always the same: the decision is written, the aliases move, an `applied` entry follows. A crash
in between leaves a pending decision. The next command completes it first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import numpy as np

from models.errors import CatalogMismatch, CorruptArtifact, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import champions, entries_about, pending
from models.promotion.decision import PromotionDecision, applied_body
from models.promotion.evidence import RoundEvidence, Trial
from tasks.local.home import Home
from tasks.messages.round_record import EvaluatedRound
from tasks.promotion import ledger
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Standing:
    """The champions of a model according to the ledger.

    Attributes:
        champions: the stack of champions, the current one last.
        repaired: sentences that say what was repaired first.
    """

    champions: tuple[int, ...]
    repaired: tuple[str, ...] = ()

    @property
    def champion(self) -> int | None:
        """Return the current champion."""
        return self.champions[-1] if self.champions else None

    @property
    def before(self) -> int | None:
        """Return the version that a rollback makes champion."""
        return self.champions[-2] if len(self.champions) > 1 else None


def now() -> str:
    """Return the current time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def standing_of(entries: Sequence[Entry], model_name: str) -> Standing:
    """Return the champions of a model after its pending decision, if any, is applied."""
    stack = champions(entries, model_name)
    interrupted = pending(entries, model_name)
    return Standing(_after(stack, interrupted) if interrupted else stack)


def settle(home: Home, client: MlflowClient, model_name: str) -> Standing:
    """Make a model's ledger, registry tag and aliases agree.

    This completes a pending decision. It also restores aliases that were moved without fedrec, because only a
    decision makes a champion. Call it only within `tasks.promotion.ledger.locked`.

    Raises:
        LedgerTampered: the ledger is not valid. Nothing is changed then.
    """
    entries = ledger.read_verified(home, client).entries
    repaired: list[str] = []
    interrupted = pending(entries, model_name)
    if interrupted is not None:
        apply(home, client, interrupted)
        version = interrupted.body["candidate"]
        repaired.append(f"completed the interrupted {interrupted.body['kind']} of version {version}")
    entries = ledger.read(home).entries
    for last in entries_about(entries, model_name)[-1:]:
        ledger.mirror(client, last)
    standing = Standing(champions(entries, model_name))
    if standing.champions:
        repaired += [f"restored: {fault}" for fault in _set_aliases(client, model_name, standing)]
    return Standing(standing.champions, tuple(repaired))


def apply(home: Home, client: MlflowClient, decision: Entry) -> None:
    """Move the aliases to match an accepted decision, and write an `applied` entry to the ledger."""
    body = decision.body
    stack = champions(ledger.read(home).entries, body["model_name"])
    _set_aliases(client, body["model_name"], Standing(_after(stack, decision)))
    ledger.append(home, client, applied_body(body, decision.hash, now()))


def record(home: Home, client: MlflowClient, decision: PromotionDecision) -> Entry:
    """Write a decision to the ledger, and apply it if it was accepted."""
    entry = ledger.append(home, client, decision.body())
    if decision.accepted:
        apply(home, client, entry)
    return entry


def gather(client: MlflowClient, model_name: str, version: int) -> tuple[RoundEvidence, Trial]:
    """Return a version's facts, and the result of loading it and scoring three fixed histories.

    If the artefact does not match its digests, the facts come from the registry's tags, and the trial holds
    the error.

    Raises:
        NotFound: there is no such version.
    """
    tags = registry.tags_of(client, model_name, version)
    try:
        loaded = registry.load_version(client, model_name, version)
        scores = recommender_of(loaded).golden_scores()
    except (CorruptArtifact, CatalogMismatch, NotFound, np.linalg.LinAlgError) as error:
        return _from_tags(version, tags), Trial(error=str(error))
    trial = Trial(
        scores=scores.size, finite=int(np.isfinite(scores).sum()), distinct=int(np.unique(scores).size)
    )
    return evidence_of(version, loaded.record, tags["fedrec.manifest"]), trial


def facts_of(client: MlflowClient, model_name: str, version: int) -> RoundEvidence:
    """Return a version's facts from its verified record, without loading or scoring the model.

    Raises:
        NotFound: there is no such version.
        CorruptArtifact: its record does not match the digest in the registry.
    """
    promised = registry.tags_of(client, model_name, version).get("fedrec.manifest", "")
    return evidence_of(version, registry.load_record(client, model_name, version), promised)


def evidence_of(version: int, record: EvaluatedRound, manifest_sha256: str) -> RoundEvidence:
    """Return the facts in a round's record.

    Args:
        version: number in the registry.
        record: the round's record.
        manifest_sha256: digest of the record, from the registry.
    """
    return RoundEvidence(
        version=version,
        job_id=record.job_id,
        round=record.round,
        model_sha256=record.model_sha256,
        manifest_sha256=manifest_sha256,
        data_digest=record.data_digest,
        catalog_digest=record.catalog_digest,
        contracts={str(name): str(result) for name, result in record.contracts.items()},
        evaluation=record.evaluation,
    )


def decision_of(home: Home, model_name: str, version: int) -> Entry | None:
    """Return the newest accepted decision about a version, or None."""
    for entry in reversed(entries_about(ledger.read(home).entries, model_name)):
        body = entry.body
        if body["type"] == "decision" and body["candidate"] == version and body["accepted"]:
            return entry
    return None


def alias_faults(client: MlflowClient, model_name: str, standing: Standing) -> list[str]:
    """Return one sentence for each alias that differs from the ledger."""
    found = registry.aliases(client, model_name)
    wanted = {registry.CHAMPION: standing.champion, registry.PREVIOUS: standing.before}
    return [
        f"alias {alias!r} names version {found.get(alias, 'none')}, but the ledger says "
        f"{'none' if version is None else version}"
        for alias, version in wanted.items()
        if found.get(alias) != version
    ]


def require_target(model_name: str, standing: Standing) -> int:
    """Return the version that a rollback makes champion.

    Raises:
        NotFound: there is no champion before the current one.
    """
    if standing.before is not None:
        return standing.before
    held = f"version {standing.champion} is its first champion" if standing.champion else "it has no champion"
    raise NotFound(
        f"Model {model_name!r} cannot be rolled back: {held}.",
        next_step="Promote another version with fedrec promote --version N.",
        model_name=model_name,
    )


def _after(stack: tuple[int, ...], decision: Entry) -> tuple[int, ...]:
    """Return the stack of champions after a decision is applied."""
    promoted = decision.body["kind"] == "promotion"
    return (*stack, decision.body["candidate"]) if promoted else stack[:-1]


def _set_aliases(client: MlflowClient, model_name: str, standing: Standing) -> list[str]:
    """Move the two aliases to match the stack, and return what differed before."""
    faults = alias_faults(client, model_name, standing)
    if faults:
        wanted = {registry.CHAMPION: standing.champion, registry.PREVIOUS: standing.before}
        for alias, version in wanted.items():
            if version is None:
                client.delete_registered_model_alias(model_name, alias)
            else:
                client.set_registered_model_alias(model_name, alias, str(version))
    return faults


def _from_tags(version: int, tags: dict[str, str]) -> RoundEvidence:
    """Return the facts in the registry's tags. The tags do not prove an evaluation."""
    outcome = tags.get("fedrec.contracts", "unknown")
    return RoundEvidence(
        version=version,
        job_id=tags.get("fedrec.job", ""),
        round=int(tags.get("fedrec.round", "-1")),
        model_sha256=tags.get("fedrec.sha256", ""),
        manifest_sha256=tags.get("fedrec.manifest", ""),
        data_digest=tags.get("fedrec.data", ""),
        catalog_digest=tags.get("fedrec.catalog", ""),
        contracts={"all" if outcome == "passed" else "some": outcome},
        evaluation=None,
    )
