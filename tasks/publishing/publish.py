"""Writes the registry's champion as a bundle, and the pointer that serving processes read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact, LedgerTampered
from models.ledger.chain import Entry
from models.promotion.champions import champions, entries_about
from models.recommenders.items.features import ItemFeatures
from tasks.bundles.bundle import MANIFEST, Labels, open_bundle, write_bundle
from tasks.bundles.pointer import Pointer, Target, read_pointer, serving_folder, users_folder, write_pointer
from tasks.local.checksums import sha256_of
from tasks.local.home import Home
from tasks.messages.record import JsonObject
from tasks.promotion import ledger
from tasks.promotion.promote import decision_of, standing_of
from tasks.scoring.recommend import recommender_of
from tasks.tracking import registry
from tasks.tracking.registered_round import RegisteredRound

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHALLENGER = "challenger"
# Number of unused bundles to keep: a rollback then finds its bundle on disk.
_KEPT = 3
# A numeric column with more distinct values than this gives no labels.
_MOST_NUMBERS = 1000


LayOutUsers = Callable[[Path, Mapping[str, str]], str]


def publish(home: Home, client: MlflowClient, model_name: str, users: LayOutUsers | None = None) -> Pointer:
    """Publish the champion and, if the registry names one, the challenger to the serving processes.

    Only missing files are written. Nothing is written if nothing has changed.

    Args:
        home: contains the bundles.
        client: the registry.
        model_name: the registered model.
        users: in a silo, a function that writes the silo's users for a version, given a folder and the
            version's tags, and returns the SHA-256 of their manifest (see `tasks.publishing.local_users`).

    Raises:
        NotFound: there is no champion, or an artefact of it is missing.
        CorruptArtifact: an artefact does not match its SHA-256. The pointer is not changed.
        LedgerTampered: the alias was moved without a decision, or the ledger is not valid. The pointer is not
            changed.
    """
    folder = serving_folder(home)
    aliases = registry.aliases(client, model_name)
    champion = registry.resolve_version(client, model_name, registry.CHAMPION)
    _require_decided(home, client, model_name, champion)
    challenger = aliases.get(CHALLENGER)
    try:
        served = read_pointer(folder)
    except CorruptArtifact:
        served = None

    def target(version: int) -> Target:
        return _target(home, client, model_name, version, folder, served, users)

    wanted = Pointer(
        champion=target(champion),
        challenger=target(challenger) if challenger not in (None, champion) else None,
    )
    if wanted != served:
        write_pointer(folder, wanted)
        _prune(folder, wanted)
    return wanted


def _require_decided(home: Home, client: MlflowClient, model_name: str, version: int) -> None:
    """Raise `LedgerTampered` if there is a ledger here and it did not make the version champion.

    A service on another machine has only the registry, and trusts it.
    """
    if not home.ledger.exists():
        return
    entries = ledger.read_verified(home, client).entries
    if not entries_about(entries, model_name):
        return
    # Between a decision and the move of the alias, both versions are valid.
    decided = standing_of(entries, model_name).champion
    if version not in {decided, *champions(entries, model_name)[-1:]}:
        raise LedgerTampered(
            f"Alias 'champion' of {model_name!r} names version {version}, but no decision made it champion: "
            f"according to the ledger, that is {decided}.",
            next_step="See fedrec audit --verify; fedrec promote and fedrec rollback restore the alias.",
            model_name=model_name,
            version=version,
        )


def _target(
    home: Home,
    client: MlflowClient,
    model_name: str,
    version: int,
    folder: Path,
    served: Pointer | None,
    users: LayOutUsers | None,
) -> Target:
    tags = registry.tags_of(client, model_name, version)
    name = f"{version}-{tags.get('fedrec.sha256', '')[:16]}"
    digest = _present(folder / name, served) or _built(client, model_name, version, folder / name)
    return Target(
        name,
        digest,
        decision_facts(decision_of(home, model_name, version)),
        users(users_folder(folder, name), tags) if users else _users_beside(name, served),
    )


def _users_beside(bundle: str, served: Pointer | None) -> str:
    """Return the SHA-256 in the pointer of the users beside a bundle, which another publisher wrote."""
    known = (served.champion, served.challenger) if served else ()
    return next((target.users_sha256 for target in known if target and target.bundle == bundle), "")


def _present(bundle: Path, served: Pointer | None) -> str | None:
    """Return the digest of a bundle's manifest; None if the bundle is missing or incomplete."""
    manifest = bundle / MANIFEST
    if not manifest.is_file():
        return None
    digest = sha256_of(manifest)
    for target in (served.champion, served.challenger) if served else ():
        if target and (target.bundle, target.manifest_sha256) == (bundle.name, digest):
            return digest  # it was verified when it was published
    try:
        open_bundle(bundle, digest)
    except CorruptArtifact:
        return None
    return digest


def _built(client: MlflowClient, model_name: str, version: int, target: Path) -> str:
    found = registry.load_version(client, model_name, version)
    recommender = recommender_of(found)
    return write_bundle(
        target,
        facts_of(found, model_name),
        recommender.scorer,
        recommender.item_ids,
        recommender.titles,
        labels_of(ItemFeatures.of(found.items)),
    )


def facts_of(found: RegisteredRound, model_name: str) -> JsonObject:
    """Return the facts about a version that its bundle contains."""
    record = found.record
    items, dims = found.model().items.shape
    return {
        "model_name": model_name,
        "version": found.version,
        "round": record.round,
        "sha256": found.sha256,
        "job_id": record.job_id,
        "data_digest": record.data_digest,
        "catalog_digest": record.catalog_digest,
        "committed_at": record.committed_at,
        "epsilon": record.privacy.epsilon if record.privacy else None,
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


def _prune(folder: Path, pointer: Pointer) -> None:
    """Remove all unused bundles except the newest. A process that has mapped one can still read it."""
    used = {pointer.champion.bundle} | ({pointer.challenger.bundle} if pointer.challenger else set())
    others = [path.parent for path in folder.glob(f"[0-9]*/{MANIFEST}") if path.parent.name not in used]
    others.sort(key=lambda path: path.stat().st_mtime)
    for path in others[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
        shutil.rmtree(users_folder(folder, path.name), ignore_errors=True)
