"""The registry's versions as the ledger knows them, whatever people have written into their tags.

Anyone may edit or delete the tags of a version in MLflow's UI. Where they differ from the ledger, the round's
record among the artefacts tells which round made the version.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from models.kernel.clipping import clipped
from models.ledger.chain import Entry
from models.promotion.champions import Champion, Standing, decided, entries_about
from tasks.tracking import registry

if TYPE_CHECKING:
    from mlflow import MlflowClient

# Fact in a decision's evidence -> the tag that repeats it.
_TAGS = {
    "job_id": "fedrec.job",
    "round": "fedrec.round",
    "sha256": "fedrec.sha256",
    "manifest_sha256": "fedrec.manifest",
    "data_digest": "fedrec.data",
    "catalog_digest": "fedrec.catalog",
}
# Digits.
_LONGEST_ROUND = 10


@dataclass(frozen=True)
class ChangedTag:
    """A tag of a champion's version that differs from the ledger.

    Attributes:
        version: the version.
        key: of the tag.
        found: its text; None if there is no such tag.
        decided: its text according to the ledger.
    """

    version: int
    key: str
    found: str | None
    decided: str

    def __str__(self) -> str:
        says = "is missing" if self.found is None else f"is {clipped(self.found)!r}"
        return f"tag {self.key!r} of version {self.version} {says}, but the ledger says {self.decided!r}"


def identity(version: int, tags: Mapping[str, str]) -> Champion:
    """Return what identifies a version with these tags. A tag that names no round stands for round -1."""
    return Champion(version, tags.get("fedrec.job", ""), round_of(tags))


def round_of(tags: Mapping[str, str]) -> int:
    """Return the round in a version's tags; -1 if none is there or its text is not a number."""
    text = tags.get("fedrec.round", "")
    return int(text) if text.isdecimal() and text.isascii() and len(text) < _LONGEST_ROUND else -1


def versions_by_job(client: MlflowClient, model_name: str) -> dict[str, list[int]]:
    """Return job id -> the versions of a model that are tagged as the job's, ascending."""
    found: dict[str, list[int]] = {}
    for each in client.reads.newest_versions(model_name):
        found.setdefault(each.tags.get("fedrec.job", ""), []).insert(0, each.version)
    return found


def existence(client: MlflowClient, model_name: str) -> Callable[[Champion], bool]:
    """Return a function that tells whether a champion's version exists in the registry.

    It may have been deleted, alone or with its model. Another version may have its number since then.
    """

    def exists(champion: Champion) -> bool:
        found = registry.find_entry(client, model_name, champion.version)
        if found is None:
            return False
        if identity(champion.version, found.tags) == champion:
            return True
        # Imported only here: it brings tables, which a look at the ledger does not need.
        from tasks.tracking.registered_round import recorded_origin

        origin = recorded_origin(found.source, client.tracking_uri)
        return origin == (champion.job_id, champion.round)

    return exists


def decision_of(entries: Sequence[Entry], model_name: str, version: Champion) -> Entry | None:
    """Return the newest accepted decision about a version, or None."""
    for entry in reversed(entries_about(entries, model_name)):
        body = entry.body
        if body["type"] == "decision" and body["accepted"] and decided(body) == version:
            return entry
    return None


def changed_tags(
    client: MlflowClient, entries: Sequence[Entry], model_name: str, found: Standing
) -> Iterator[ChangedTag]:
    """Yield the tags of the champion's version, and of the one before it, that differ from the ledger."""
    for version in {found.champion, found.before} - {None}:
        champion = next(each for each in reversed(found.stack) if each.version == version)
        decision = decision_of(entries, model_name, champion)
        tags = registry.find_tags(client, model_name, champion.version)
        if decision is None or tags is None:
            continue
        evidence = decision.body["evidence"]
        for fact, key in _TAGS.items():
            if fact in evidence and tags.get(key) != str(evidence[fact]):
                yield ChangedTag(champion.version, key, tags.get(key), str(evidence[fact]))
