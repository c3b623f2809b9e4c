"""Writes the registry's champion as a bundle, and the pointer that serving processes read."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from models.errors import CorruptArtifact, FedrecError, LedgerTampered, NotFound
from models.ledger.chain import Entry
from models.promotion.champions import champions, entries_about
from models.recommenders.items.features import ItemFeatures
from tasks.bundles.bundle import MANIFEST, Labels, open_bundle, write_bundle
from tasks.bundles.pointer import Pointer, Target, read_pointer, serving_folder, users_folder, write_pointer
from tasks.local.checksums import sha256_of
from tasks.local.home import Home
from tasks.messages.record import JsonObject
from tasks.promotion.ledger import LedgerReader
from tasks.promotion.promote import decision_of, identity, standing_of
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


def publish(
    home: Home,
    client: MlflowClient,
    model_name: str,
    users: LayOutUsers | None = None,
    reader: LedgerReader | None = None,
    without_challenger: Callable[[FedrecError], None] | None = None,
) -> Pointer:
    """Publish the champion and, if the registry names one, the challenger to the serving processes.

    Only missing files are written. Nothing is written if nothing has changed.

    Args:
        home: contains the bundles.
        client: the registry.
        model_name: the registered model.
        users: in a silo, a function that writes the silo's users for a version, given a folder and the
            version's tags, and returns the SHA-256 of their manifest (see `tasks.publishing.local_users`).
        reader: reads the decisions; kept by callers that publish again and again.
        without_challenger: receives the error if the challenger cannot be published. The champion is
            published nevertheless. Without this function, the error is raised afterwards.

    Raises:
        NotFound: there is no champion, or an artefact of it is missing.
        CorruptArtifact: an artefact does not match its SHA-256. The pointer is not changed.
        LedgerTampered: the alias was moved without a decision, or the ledger is not valid. The pointer is not
            changed.
    """
    folder = serving_folder(home)
    entries = _entries(client, model_name, reader or LedgerReader(home))
    champion = registry.version_of_alias(client, model_name, registry.CHAMPION)
    if champion is None:
        raise _no_champion(client, entries, model_name)
    _require_decided(client, entries, model_name, champion)
    challenger = registry.version_of_alias(client, model_name, CHALLENGER)
    try:
        served = read_pointer(folder)
    except CorruptArtifact:
        served = None

    def target(version: int) -> Target:
        return _target(client, entries, model_name, version, folder, served, users)

    wanted, refused = Pointer(champion=target(champion)), None
    if challenger not in (None, champion):
        try:
            wanted = replace(wanted, challenger=target(challenger))
        except FedrecError as error:
            refused = error
    if wanted != served:
        write_pointer(folder, wanted)
        _prune(folder, wanted)
    if refused is not None:
        if without_challenger is None:
            raise refused
        without_challenger(refused)
    return wanted


def _entries(client: MlflowClient, model_name: str, reader: LedgerReader) -> list[Entry]:
    """Return the verified entries about the model.

    A service on another machine has only the registry, and trusts it.
    """
    if not reader.home.ledger.exists():
        return []
    return entries_about(reader.verified(client, model_name), model_name)


def _no_champion(client: MlflowClient, entries: list[Entry], model_name: str) -> NotFound:
    """Return the error that says why the registry names no champion, and what to do."""
    found = standing_of(client, entries, model_name)
    promote, rollback = f"fedrec promote --model {model_name}", f"fedrec rollback --model {model_name}"
    if found.champion is not None:
        what = f"Alias 'champion' of {model_name!r} was removed; the ledger says version {found.champion}"
        step = f"{promote} or {rollback} restores it"
    elif found.lost is None:
        what, step = f"Model {model_name!r} has no champion", f"Promote a version with {promote}"
    else:
        what = f"The champion of {model_name!r}, version {found.lost}, was deleted from the registry"
        back = f"{rollback} returns to version {found.before}, " if found.before else ""
        step = f"{back}{promote} makes another version champion"
    return NotFound(
        f"{what}. Services keep answering from the bundle that they have.",
        next_step=f"{step}.",
        model_name=model_name,
    )


def _require_decided(client: MlflowClient, entries: list[Entry], model_name: str, version: int) -> None:
    """Raise `LedgerTampered` if there are decisions and none made the version champion."""
    if not entries:
        return
    # Between a decision and the move of the alias, both versions are valid.
    applied = [each.version for each in champions(entries, model_name)[-1:]]
    if version in applied:
        return
    decided = standing_of(client, entries, model_name).champion
    if version != decided:
        raise LedgerTampered(
            f"Alias 'champion' of {model_name!r} names version {version}, but no decision made it champion: "
            f"according to the ledger, that is {decided}.",
            next_step="See fedrec audit --verify; fedrec promote and fedrec rollback restore the alias.",
            model_name=model_name,
            version=version,
        )


def _target(
    client: MlflowClient,
    entries: list[Entry],
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
        decision_facts(decision_of(entries, model_name, identity(version, tags))),
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
