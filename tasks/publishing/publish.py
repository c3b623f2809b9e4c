"""Writes the registry's champion as a bundle, and the pointer that serving processes read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from importlib.metadata import version as version_of
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact, FedrecError, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import Champion, entries_about
from models.recommenders.items.features import ItemFeatures
from tasks.bundles.bundle import Labels, write_bundle
from tasks.bundles.pointer import Pointer, Target, read_pointer, write_pointer
from tasks.bundles.published import intact, remove_unused
from tasks.bundles.serving_folder import remove_shared_layout, serving_folder
from tasks.local.checksums import digest_of
from tasks.local.home import Home
from tasks.messages.record import JsonObject, as_json_object
from tasks.promotion.ledger import LedgerReader
from tasks.promotion.served import decided_champion
from tasks.promotion.versions import decision_of
from tasks.publishing.silo_users import SiloUsers
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry
from tasks.tracking.registered_round import RegisteredRound

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHALLENGER = "challenger"
# A numeric column with more distinct values than this gives no labels.
_MOST_NUMBERS = 1000


@dataclass(frozen=True)
class _LaidOut:
    """The files of a version that are on disk.

    Attributes:
        bundle, sha256: name of the bundle, and digest of its manifest.
        users_sha256: digest of the users beside it; empty outside a silo.
        of: what the version's verified record says about it.
    """

    bundle: str
    sha256: str
    users_sha256: str
    of: Champion


class Publisher:
    """Publishes the champion of one registered model to serving processes.

    It remembers what it has published, so publishing again reads only the registry and small files.

    Args:
        home: contains the bundles.
        client: the registry.
        model_name: the registered model.
        users: in a silo, its own users.

    Attributes:
        refused: why the last call of `publish` left the challenger out; None if it did not.
    """

    def __init__(
        self, home: Home, client: MlflowClient, model_name: str, users: SiloUsers | None = None
    ) -> None:
        self._home, self._client, self._model_name, self._users = home, client, model_name, users
        self._folder = serving_folder(home, model_name, users.silo if users else None)
        self._reader = LedgerReader(home)
        self.refused: FedrecError | None = None
        # By the origin of the version.
        self._known: dict[tuple[str, ...], _LaidOut] = {}

    def publish(self) -> Pointer:
        """Publish the champion and, if the registry names one, the challenger.

        Only missing files are written. Nothing is written if nothing has changed. A challenger that cannot be
        published is left out.

        Raises:
            NotFound: there is no champion, or an artefact of it is missing.
            CorruptArtifact: an artefact does not match its SHA-256. The pointer is not changed.
            LedgerTampered: the alias was moved without a decision, or the ledger is not valid. The pointer is
                not changed.
        """
        remove_shared_layout(self._home)
        self.refused = None
        entries = self.decisions()
        champion = self._champion(entries)
        challenger = registry.version_of_alias(self._client, self._model_name, CHALLENGER)
        try:
            served = read_pointer(self._folder)
        except CorruptArtifact:
            served = None
        wanted = Pointer(champion=self._target(champion, served, entries))
        if challenger not in (None, champion):
            try:
                wanted = replace(wanted, challenger=self._target(challenger, served, entries))
            except FedrecError as error:
                self.refused = error
        if wanted != served:
            write_pointer(self._folder, wanted)
            remove_unused(self._folder, wanted)
        return wanted

    def decisions(self) -> list[Entry]:
        """Return the verified entries about the model; none if there is no ledger here.

        A service on another machine has only the registry, and trusts it.
        """
        if not self._home.ledger.exists():
            return []
        return entries_about(self._reader.verified(self._client, self._model_name), self._model_name)

    def _champion(self, entries: list[Entry]) -> int:
        try:
            return decided_champion(self._client, entries, self._model_name)
        except NotFound as none:
            what = f"{none.what} Services keep answering from the bundle that they have."
            raise NotFound(what, next_step=none.next_step, **none.facts) from None

    def _target(self, version: int, served: Pointer | None, entries: list[Entry]) -> Target:
        origin = registry.origin_of(self._client, self._model_name, version)
        known = self._known.get(origin)
        if known is None or intact(self._folder, known.bundle, served) != known.sha256:
            known = self._known[origin] = self._laid_out(version, served)
        decision = decision_of(entries, self._model_name, known.of)
        return Target(known.bundle, known.sha256, decision_facts(decision), known.users_sha256)

    def _laid_out(self, version: int, served: Pointer | None) -> _LaidOut:
        """Write what is missing of a version, and return what is there then.

        The name contains a digest of all that the version serves. So neither a version of another model nor
        one with other titles can be taken for it.
        """
        found = registry.load_version(self._client, self._model_name, version)
        facts = facts_of(found, self._model_name)
        name = f"{version}-{digest_of(facts)[:16]}"
        digest = intact(self._folder, name, served) or _written(found, facts, self._folder / name)
        users = ""
        if self._users is not None:
            users = self._users.publish_beside(self._folder, name, facts)
        made_by = Champion(version, found.record.job_id, found.record.round)
        return _LaidOut(name, digest, users, made_by)


def publish(home: Home, client: MlflowClient, model_name: str, users: SiloUsers | None = None) -> Pointer:
    """Publish the champion of a registered model once; see `Publisher`.

    Raises:
        FedrecError: also if the challenger cannot be published. The champion is then published without it.
    """
    publisher = Publisher(home, client, model_name, users)
    pointer = publisher.publish()
    if publisher.refused:
        raise publisher.refused
    return pointer


def _written(found: RegisteredRound, facts: JsonObject, target: Path) -> str:
    recommender = recommender_of(found)
    return write_bundle(
        target,
        facts,
        recommender.scorer,
        recommender.item_ids,
        recommender.titles,
        labels_of(ItemFeatures.of(found.items)),
    )


def facts_of(found: RegisteredRound, model_name: str) -> JsonObject:
    """Return the facts about a version that its bundle contains. They determine all that it serves."""
    record = found.record
    items, dims = found.model().items.shape
    return {
        "model_name": model_name,
        "version": found.version,
        "round": record.round,
        "sha256": found.sha256,
        "job_id": record.job_id,
        "data_digest": record.data_digest,
        "record_digest": found.tags["fedrec.manifest"],
        "catalog_digest": record.catalog_digest,
        # Unlike the digest above, that of titles and features too.
        "items_sha256": hashlib.sha256(found.items.to_parquet()).hexdigest(),
        "made_by": f"fedrec {version_of('fedrec')}",
        "committed_at": record.committed_at,
        "privacy": as_json_object(record.privacy) if record.privacy else None,
        "items": items,
        "dims": dims,
    }


def decision_facts(entry: Entry | None) -> JsonObject:
    """Return the facts about a decision that the pointer contains."""
    if entry is None:
        return {}
    body = entry.body
    return {
        "kind": body["kind"],
        "decided_by": body["actor"],
        "decided_at": body["decided_at"],
        "reason": body["reason"],
        "gates": body["verdicts"],
        "ledger_entry": entry.hash,
    }


def labels_of(features: ItemFeatures) -> Labels:
    """Return labels such as "genres:Comedy", and "year:1995" for a column with few distinct integers."""
    found: dict[str, npt.NDArray[np.int64]] = {
        f"{column}:{label}": rows
        for column, by_label in features.labels.items()
        for label, rows in by_label.items()
    }
    for column, numbers in features.numbers.items():
        known = np.flatnonzero(np.isfinite(numbers))
        values, places = np.unique(numbers[known], return_inverse=True)
        if values.size > _MOST_NUMBERS or (values != np.round(values)).any():
            continue
        for place, value in enumerate(values.tolist()):
            found[f"{column}:{int(value)}"] = known[places == place]
    return Labels.of(features.items, found)
