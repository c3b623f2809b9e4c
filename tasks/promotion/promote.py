"""The side effects of a promotion: gathering what gates judge, and moving the aliases that serving follows.

The order is always: the decision is written, the aliases move, an `applied` entry follows. A crash in between
leaves a pending decision, which the next command completes first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from models.errors import CatalogMismatch, CorruptArtifact, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import champions, entries_about, pending
from models.promotion.decision import PromotionDecision, applied_body
from models.promotion.evidence import RoundEvidence, Trial
from tasks.local.home import Home
from tasks.promotion import ledger
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry
from tasks.tracking.registered_round import manifest_digest

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class Standing:
    """Who serves a model, by the ledger.

    Attributes:
        champions: the stack of champions, the present one last.
        repaired: what had to be put right first, in words.
    """

    champions: tuple[int, ...]
    repaired: tuple[str, ...] = ()

    @property
    def champion(self) -> int | None:
        """The present champion."""
        return self.champions[-1] if self.champions else None

    @property
    def before(self) -> int | None:
        """The champion that a rollback would return to."""
        return self.champions[-2] if len(self.champions) > 1 else None


def now() -> str:
    """This moment as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def standing_of(entries: Sequence[Entry], model_name: str) -> Standing:
    """Who serves a model once its pending decision, if there is one, is applied."""
    stack = champions(entries, model_name)
    interrupted = pending(entries, model_name)
    return Standing(_after(stack, interrupted) if interrupted else stack)


def settle(home: Home, client: MlflowClient, model_name: str) -> Standing:
    """Ledger, registry tag and aliases of a model agree; only within `tasks.promotion.ledger.locked`.

    A pending decision is completed. Aliases that were moved past fedrec are put back, because only a
    decision makes a champion.

    Raises:
        LedgerTampered: the ledger does not hold; nothing is touched then.
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
        repaired += [f"put back: {fault}" for fault in _set_aliases(client, model_name, standing)]
    return Standing(standing.champions, tuple(repaired))


def apply(home: Home, client: MlflowClient, decision: Entry) -> None:
    """The aliases stand as an accepted decision wants, and the ledger says so."""
    body = decision.body
    stack = champions(ledger.read(home).entries, body["model_name"])
    _set_aliases(client, body["model_name"], Standing(_after(stack, decision)))
    ledger.append(home, client, applied_body(body, decision.hash, now()))


def record(home: Home, client: MlflowClient, decision: PromotionDecision) -> Entry:
    """The decision stands in the ledger, and in effect where it was accepted."""
    entry = ledger.append(home, client, decision.body())
    if decision.accepted:
        apply(home, client, entry)
    return entry


def gather(client: MlflowClient, model_name: str, version: int) -> tuple[RoundEvidence, Trial]:
    """A version's facts, and what came of loading it and scoring three fixed histories.

    An artefact that does not prove is evidence, too: what is known of it then comes from the registry's tags.

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
    return RoundEvidence.of(version, loaded.manifest, tags["fedrec.manifest"]), trial


def facts_of(client: MlflowClient, model_name: str, version: int) -> RoundEvidence:
    """A version's facts from its proved manifest alone: a champion is compared with, never scored again.

    Raises:
        NotFound: there is no such version.
        CorruptArtifact: its manifest is not what the registry promises.
    """
    manifest = registry.load_manifest(client, model_name, version)
    return RoundEvidence.of(version, manifest, manifest_digest(manifest))


def decision_of(home: Home, model_name: str, version: int) -> Entry | None:
    """The newest accepted decision about a version, or None."""
    for entry in reversed(entries_about(ledger.read(home).entries, model_name)):
        body = entry.body
        if body["type"] == "decision" and body["candidate"] == version and body["accepted"]:
            return entry
    return None


def alias_faults(client: MlflowClient, model_name: str, standing: Standing) -> list[str]:
    """Where the aliases differ from the ledger, in words."""
    found = registry.aliases(client, model_name)
    wanted = {registry.CHAMPION: standing.champion, registry.PREVIOUS: standing.before}
    return [
        f"alias {alias!r} names version {found.get(alias, 'none')}, but by the ledger it is "
        f"{'none' if version is None else version}"
        for alias, version in wanted.items()
        if found.get(alias) != version
    ]


def require_target(model_name: str, standing: Standing) -> int:
    """The version that a rollback returns to.

    Raises:
        NotFound: there is none.
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
    """The stack of champions once a decision is applied."""
    promoted = decision.body["kind"] == "promotion"
    return (*stack, decision.body["candidate"]) if promoted else stack[:-1]


def _set_aliases(client: MlflowClient, model_name: str, standing: Standing) -> list[str]:
    """The two aliases follow the stack; returns what differed before."""
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
    """What the registry's tags alone say about a round; an evaluation that is not proved does not count."""
    outcome = tags.get("fedrec.contracts", "unknown")
    contracts: dict[str, Any] = {"all" if outcome == "passed" else "some": outcome}
    return RoundEvidence(
        version=version,
        job_id=tags.get("fedrec.job", ""),
        round=int(tags.get("fedrec.round", "-1")),
        model_sha256=tags.get("fedrec.sha256", ""),
        manifest_sha256=tags.get("fedrec.manifest", ""),
        data_digest=tags.get("fedrec.data", ""),
        catalog_digest=tags.get("fedrec.catalog", ""),
        contracts=contracts,
        evaluation=None,
    )
