"""Evaluates the counts of serving processes: logs comparisons, and finds reasons to roll back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from models.ledger.chain import Entry
from models.promotion.live import DropPolicy, Hits, has_dropped
from tasks.bundles.pointer import Pointer
from tasks.bundles.tallies import Tallies, comparison_key, serving_key
from tasks.promotion.promote import standing_of
from tasks.promotion.versions import decision_of
from tasks.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

SHADOW_TAG = "fedrec.shadow"


def version_of(bundle: str) -> int:
    """Return the version that a bundle's name begins with."""
    return int(bundle.partition("-")[0])


def log_comparison(client: MlflowClient, model_name: str, pointer: Pointer, tallies: Tallies) -> bool:
    """Tag the challenger's version with how its answers differ, and return whether the tag changed.

    The tag is JSON: against (the champion's version), questions, overlap (share of items that both
    recommended), mean_rank_difference (of these), champion_ms and challenger_ms.
    """
    if pointer.challenger is None:
        return False
    found = tallies.comparisons.get(comparison_key(pointer.champion, pointer.challenger))
    if found is None:
        return False
    figures = {name: round(value, 4) for name, value in found.figures().items()}
    version = version_of(pointer.challenger.bundle)
    value = json.dumps({"against": version_of(pointer.champion.bundle), **figures})
    if registry.tags_of(client, model_name, version).get(SHADOW_TAG) == value:
        return False
    client.set_model_version_tag(model_name, str(version), SHADOW_TAG, value)
    return True


def reason_to_roll_back(
    client: MlflowClient,
    entries: list[Entry],
    model_name: str,
    pointer: Pointer,
    tallies: Tallies,
    policy: DropPolicy,
) -> str | None:
    """Return the reason to roll the champion back, in words; None if there is none.

    Only a promotion is rolled back. A champion that a rollback restored stays, because its successor failed.
    """
    if pointer.champion.decision.get("kind") != "promotion":
        return None
    found = standing_of(client, entries, model_name)
    earlier = [each for each in found.stack if each.version == found.before]
    decision = decision_of(entries, model_name, earlier[-1]) if earlier else None
    if decision is None:
        return None
    now = tallies.hits.get(serving_key(pointer.champion), Hits())
    ending = f":{decision.hash[:16]}"
    before = sum(
        (
            hits
            for key, hits in tallies.hits.items()
            if key.startswith(f"{found.before}-") and key.endswith(ending)
        ),
        Hits(),
    )
    if not has_dropped(before, now, policy):
        return None
    return (
        f"hit rate {now.rate:.4f} over {now.answers} answers, where version {found.before} had "
        f"{before.rate:.4f} over {before.answers}; more than {policy.max_drop:.0%} below it"
    )
