"""The pointer: a small file that names the bundles of one model to serve. It is replaced atomically."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.errors import CorruptArtifact
from tasks.local.atomic import write_atomically

FORMAT = 1
# In the folder of a bundle, the file that names and verifies all others.
MANIFEST = "bundle.json"


@dataclass(frozen=True)
class Target:
    """A bundle to serve.

    Attributes:
        bundle: name of its folder beside the pointer.
        manifest_sha256: SHA-256 of its manifest.
        decision: the ledger's decision: kind, decided_by, decided_at, reason, gates; empty if there is none.
        users_sha256: SHA-256 of the manifest of the local users beside it; empty without local users.
    """

    bundle: str
    manifest_sha256: str
    decision: Mapping[str, Any]
    users_sha256: str = ""


@dataclass(frozen=True)
class Pointer:
    """The bundles to serve.

    Attributes:
        champion: the served version.
        challenger: the version that is compared with it, or that answers a share of the requests; None if
            there is none.
    """

    champion: Target
    challenger: Target | None = None


def users_folder(folder: Path, bundle: str, users_sha256: str) -> Path:
    """Return the folder of a silo's users for a bundle, given the SHA-256 of their manifest."""
    return folder / "users" / f"{bundle}-{users_sha256[:16]}"


def pointer_path(folder: Path) -> Path:
    """Return the path of the pointer."""
    return folder / "current.json"


def nudge_path(folder: Path) -> Path:
    """Return the file that a process touches to make the publisher read the registry at once."""
    return folder / "nudge"


def publisher_path(folder: Path) -> Path:
    """Return the file to which the publisher writes its last error."""
    return folder / "publisher.json"


def write_pointer(folder: Path, pointer: Pointer) -> None:
    """Replace the folder's pointer. A reader sees the old or the new one, never a part."""

    def plain(target: Target | None) -> dict[str, Any] | None:
        return None if target is None else {**vars(target), "decision": dict(target.decision)}

    value = {
        "format": FORMAT,
        "champion": plain(pointer.champion),
        "challenger": plain(pointer.challenger),
    }
    write_atomically(pointer_path(folder), json.dumps(value, indent=1, sort_keys=True).encode())


def read_pointer(folder: Path) -> Pointer | None:
    """Return the folder's pointer; None if nothing has been published yet.

    Raises:
        CorruptArtifact: the file is not a pointer.
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
        raise CorruptArtifact(f"{path} is not a pointer: {error!r}.") from error
