"""What is in the folder of a published model: which bundles are whole, and which are not used any more."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from models.errors import CorruptArtifact
from tasks.bundles.bundle import open_bundle
from tasks.bundles.pointer import MANIFEST, Pointer, users_folder
from tasks.local.checksums import sha256_of

# Number of unused bundles to keep: a rollback then finds its bundle on disk.
_KEPT = 3
# A hidden folder in which nothing was written for this long was left by a process that was killed.
_LEFT_S = 3600.0


def intact(folder: Path, bundle: str, served: Pointer | None) -> str | None:
    """Return the SHA-256 of a bundle's manifest; None if the bundle is missing or incomplete.

    Args:
        folder: the model's folder.
        bundle: name of the bundle's folder in it.
        served: the pointer, whose bundles were verified when they were published.
    """
    manifest = folder / bundle / MANIFEST
    if not manifest.is_file():
        return None
    digest = sha256_of(manifest)
    for target in (served.champion, served.challenger) if served else ():
        if target and (target.bundle, target.manifest_sha256) == (bundle, digest):
            return digest
    try:
        open_bundle(manifest.parent, digest)
    except CorruptArtifact:
        return None
    return digest


def remove_unused(folder: Path, pointer: Pointer) -> None:
    """Remove all unused bundles except the newest, and what killed processes left of others.

    A process that has mapped a bundle can still read it.
    """
    for path in [*folder.glob(".[0-9]*.*"), *(folder / "users").glob(".[0-9]*.*")]:
        if time.time() - _written_at(path) > _LEFT_S:
            shutil.rmtree(path, ignore_errors=True)
    targets = [target for target in (pointer.champion, pointer.challenger) if target]
    used = {target.bundle for target in targets}
    others = [path.parent for path in folder.glob(f"[0-9]*/{MANIFEST}") if path.parent.name not in used]
    others.sort(key=lambda path: path.stat().st_mtime)
    for path in others[:-_KEPT]:
        shutil.rmtree(path, ignore_errors=True)
    beside = {users_folder(folder, target.bundle, target.users_sha256) for target in targets}
    for path in set((folder / "users").glob("[0-9]*")) - beside:
        bundle = path.name.rpartition("-")[0]
        if bundle in used or not (folder / bundle).exists():
            shutil.rmtree(path, ignore_errors=True)


def _written_at(staging: Path) -> float:
    """Return when something was last written to a folder of `build_folder`; now if it goes away meanwhile."""
    try:
        return max(path.lstat().st_mtime for path in (staging, *staging.rglob("*")))
    except FileNotFoundError:
        return time.time()
