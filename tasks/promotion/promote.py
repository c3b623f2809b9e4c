"""The side effects of a promotion: collecting evidence for the gates, and moving the registry's aliases.

The order is always the same: the decision is written, the aliases move, an `applied` entry follows. A crash
in between leaves a pending decision. The next command completes it first.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from models.errors import CatalogMismatch, CorruptArtifact, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import (
    Standing,
    after,
    champions,
    entries_about,
    pending,
    standing,
)
from models.promotion.decision import PromotionDecision, abandoned_body, applied_body
from models.promotion.evidence import RoundEvidence, Trial
from tasks.local.home import Home
from tasks.promotion import ledger
from tasks.promotion.ledger_heads import remember
from tasks.promotion.versions import changed_tags, existence, round_of
from tasks.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from tasks.messages.round_record import EvaluatedRound


def now() -> str:
    """Return the current time as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def standing_of(client: MlflowClient, entries: Sequence[Entry], model_name: str) -> Standing:
    """Return the champions of a model that exist, after its pending decision, if any, is applied."""
    stack = champions(entries, model_name)
    interrupted = pending(entries, model_name)
    if interrupted is not None:
        then = standing(after(stack, interrupted.body), existence(client, model_name))
        if then.champion is not None:
            return then
    return standing(stack, existence(client, model_name))


def settle(home: Home, client: MlflowClient, model_name: str) -> Standing:
    """Make a model's ledger, its head in MLflow and its aliases agree.

    This completes a pending decision. It also restores aliases that were moved without fedrec, because only a
    decision makes a champion, and tags of the champion and of the one before it that were edited. A version
    that is gone gets no alias, and no other one replaces a champion that is gone. Call this only within
    `tasks.promotion.ledger.locked`.

    Raises:
        LedgerTampered: the ledger is not valid. Nothing is changed then.
    """
    entries = ledger.read_verified(home, client, model_name).entries
    repaired: list[str] = []
    interrupted = pending(entries, model_name)
    if interrupted is not None:
        what = f"the interrupted {interrupted.body['kind']} of version {interrupted.body['candidate']}"
        if apply(home, client, interrupted):
            repaired.append(f"completed {what}")
        else:
            repaired.append(f"gave up {what}, which no longer exists")
        entries = ledger.read(home).entries
    for last in entries_about(entries, model_name)[-1:]:
        remember(home, client, last)
    found = standing_of(client, entries, model_name)
    if found.stack:
        faults = [*_set_tags(client, entries, model_name, found), *_set_aliases(client, model_name, found)]
        repaired += [f"restored: {fault}" for fault in faults]
    return replace(found, repaired=tuple(repaired))


def apply(home: Home, client: MlflowClient, decision: Entry) -> bool:
    """Move the aliases to match an accepted decision, and write an `applied` entry to the ledger.

    If the decided version is gone, the decision is abandoned instead. Return whether it was applied.
    """
    body = decision.body
    name = body["model_name"]
    entries = ledger.read(home).entries
    stack = after(champions(entries, name), body)
    then = standing(stack, existence(client, name))
    if then.champion is None:
        ledger.append(home, client, abandoned_body(body, decision.hash, now()))
        return False
    _set_tags(client, entries, name, then)
    _set_aliases(client, name, then)
    ledger.append(home, client, applied_body(body, decision.hash, now()))
    return True


def record(home: Home, client: MlflowClient, decision: PromotionDecision) -> Entry:
    """Write a decision to the ledger, and apply it if it was accepted.

    Raises:
        NotFound: the version was deleted in the meantime. The ledger then says that it was abandoned.
    """
    entry = ledger.append(home, client, decision.body())
    if decision.accepted and not apply(home, client, entry):
        raise NotFound(
            f"Version {decision.candidate} of {decision.model_name!r} was deleted while it was decided about "
            "so it does not become the champion.",
            next_step="Choose another version with fedrec promote --version N.",
            model_name=decision.model_name,
            version=decision.candidate,
        )
    return entry


def gather(client: MlflowClient, model_name: str, version: int) -> tuple[RoundEvidence, Trial]:
    """Return a version's facts, and the result of loading it and scoring three fixed histories.

    If the artefact does not match its digests, the facts come from the registry's tags, and the trial holds
    the error.

    Raises:
        NotFound: there is no such version.
    """
    import numpy as np

    from tasks.scoring.recommend import recommender_of

    tags = registry.tags_of(client, model_name, version)
    try:
        loaded = registry.load_version(client, model_name, version)
        scores = recommender_of(loaded).golden_scores()
    except (CorruptArtifact, CatalogMismatch, NotFound, np.linalg.LinAlgError) as error:
        return _from_tags(version, tags), Trial(error=str(error), missing=isinstance(error, NotFound))
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
        evaluation_seed=record.evaluation_seed,
        privacy=record.privacy,
        clients=len(record.accepted),
    )


def compared_with(
    client: MlflowClient, model_name: str, found: Standing
) -> tuple[RoundEvidence | None, tuple[int, ...]]:
    """Return the facts of the newest champion that has a record, and the newer champions without one."""
    exists = existence(client, model_name)
    lost: list[int] = []
    for each in reversed(found.stack):
        if each.version in lost:
            continue
        if exists(each):
            with contextlib.suppress(NotFound):
                return facts_of(client, model_name, each.version), tuple(lost)
        lost.append(each.version)
    return None, tuple(lost)


@dataclass(frozen=True)
class RollbackTarget:
    """The version that a rollback makes champion.

    Attributes:
        version: its number.
        evidence, trial: its facts, and the result of scoring with it.
        gone: the versions that the rollback passes over, because they or their artefacts are gone.
    """

    version: int
    evidence: RoundEvidence
    trial: Trial
    gone: tuple[int, ...]


def rollback_target(client: MlflowClient, model_name: str, found: Standing) -> RollbackTarget:
    """Return the newest earlier champion whose artefacts exist; the newest one at all if none has artefacts.

    Raises:
        NotFound: there is no earlier champion.
    """
    targets: list[RollbackTarget] = []
    gone = list(found.gone)
    exists = existence(client, model_name)
    for each in reversed(found.stack):
        if each.version in (found.champion, *gone):
            continue
        if exists(each):
            evidence, trial = gather(client, model_name, each.version)
            targets.append(RollbackTarget(each.version, evidence, trial, tuple(gone)))
            if not trial.missing:
                return targets[-1]
        gone.append(each.version)
    if not targets:
        require_target(model_name, found)
    return targets[0]


def alias_faults(
    client: MlflowClient, model_name: str, found: Standing, *, may_be_missing: bool = False
) -> dict[str, str]:
    """Return alias -> a sentence for each alias that differs from the ledger.

    Args:
        client: the registry.
        model_name: the registered model.
        found: its champions.
        may_be_missing: whether a missing alias is no fault, as after the deletion of its version.
    """
    faults = {}
    for alias, version in {registry.CHAMPION: found.champion, registry.PREVIOUS: found.before}.items():
        actual = registry.version_of_alias(client, model_name, alias)
        if actual != version and not (actual is None and may_be_missing):
            faults[alias] = (
                f"alias {alias!r} names version {actual or 'none'}, but the ledger says {version or 'none'}"
            )
    return faults


def require_target(model_name: str, found: Standing) -> int:
    """Return the version that a rollback makes champion, unless its artefacts are missing.

    Raises:
        NotFound: there is no champion before the current one, or none is left.
    """
    if found.before is not None:
        return found.before
    gone = f"; no longer there: {', '.join(map(str, found.gone))}" if found.gone else ""
    if not found.stack:
        held = "it has no champion"
    elif len({each.version for each in found.stack}) == 1 and not gone:
        held = f"version {found.champion} is its first champion"
    else:
        held = f"no earlier champion is left{gone}"
    raise NotFound(
        f"Model {model_name!r} cannot be rolled back: {held}.",
        next_step=f"Promote another version with fedrec promote --model {model_name} --version N.",
        model_name=model_name,
        gone=list(found.gone),
    )


def _set_aliases(client: MlflowClient, model_name: str, found: Standing) -> list[str]:
    """Move the two aliases to match the champions, and return what differed before."""
    faults = alias_faults(client, model_name, found)
    wanted = {registry.CHAMPION: found.champion, registry.PREVIOUS: found.before}
    for alias in faults:
        version = wanted[alias]
        if version is None:
            client.delete_registered_model_alias(model_name, alias)
        else:
            client.set_registered_model_alias(model_name, alias, str(version))
    return [*faults.values()]


def _set_tags(client: MlflowClient, entries: Sequence[Entry], model_name: str, found: Standing) -> list[str]:
    """Set the tags of the champion and of the one before it as the ledger says, and return what differed."""
    changed = list(changed_tags(client, entries, model_name, found))
    for each in changed:
        client.set_model_version_tag(model_name, str(each.version), each.key, each.decided)
    return [str(each) for each in changed]


def _from_tags(version: int, tags: dict[str, str]) -> RoundEvidence:
    """Return the facts in the registry's tags. The tags do not prove an evaluation."""
    outcome = tags.get("fedrec.contracts", "unknown")
    return RoundEvidence(
        version=version,
        job_id=tags.get("fedrec.job", ""),
        round=round_of(tags),
        model_sha256=tags.get("fedrec.sha256", ""),
        manifest_sha256=tags.get("fedrec.manifest", ""),
        data_digest=tags.get("fedrec.data", ""),
        catalog_digest=tags.get("fedrec.catalog", ""),
        contracts={"all" if outcome == "passed" else "some": outcome},
        evaluation=None,
    )
