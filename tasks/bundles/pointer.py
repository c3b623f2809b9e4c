"""The pointer: one small file that says which bundles are served, replaced as a whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CorruptArtifact
from tasks.local.atomic import write_atomically
from tasks.local.home import Home

FORMAT = 1


@dataclass(frozen=True)
class Target:
    """A bundle to serve.

    Attributes:
        bundle: name of its folder beside the pointer.
        manifest_sha256: what its manifest must hash to.
        decision: what the ledger says of it: kind, decided_by, decided_at, reason, gates; empty where no
            decision stands behind it.
        users_sha256: what the manifest of the local users beside it must hash to; empty where there are none.
    """

    bundle: str
    manifest_sha256: str
    decision: Mapping[str, Any]
    users_sha256: str = ""


@dataclass(frozen=True)
class Pointer:
    """What is served.

    Attributes:
        champion: answers.
        challenger: is compared with it, or answers a share; None where there is none.
    """

    champion: Target
    challenger: Target | None = None


def serving_folder(home: Home) -> Path:
    """Where bundles and pointer lie."""
    return home.root / "serving"


def users_folder(folder: Path, bundle: str) -> Path:
    """Where a silo's own users lie that belong to a bundle."""
    return folder / "users" / bundle


def pointer_path(folder: Path) -> Path:
    """The pointer's file."""
    return folder / "current.json"


def nudge_path(folder: Path) -> Path:
    """Touched by whoever wants the publisher to look at the registry now."""
    return folder / "nudge"


def publisher_path(folder: Path) -> Path:
    """Where the publisher writes what it could not publish, and why."""
    return folder / "publisher.json"


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """The folder's pointer is this one; a reader sees the old or the new, never a part."""

    def plain(target: Target | None) -> dict[str, Any] | None:
        return None if target is None else {**vars(target), "decision": dict(target.decision)}

    value = {
        "format": FORMAT,
        "champion": plain(pointer.champion),
        "challenger": plain(pointer.challenger),
    }
    write_atomically(pointer_path(folder), json.dumps(value, indent=1, sort_keys=True).encode())


def read_pointer(folder: Path) -> Pointer | None:
    """The folder's pointer; None where nothing was published yet.

    Raises:
        CorruptArtifact: the file is no pointer.
    """
    path = pointer_path(folder)
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise CorruptArtifact(f"{path} cannot be read: {error}.") from error
    try:
        if value["format"] != FORMAT:
            raise ValueError(f"its format is {value['format']}")
        champion, challenger = value["champion"], value["challenger"]
        return Pointer(Target(**champion), Target(**challenger) if challenger else None)
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptArtifact(f"{path} is no pointer: {error!r}.") from error
