"""The folders of what is published: one for each registered model, and one for each silo that serves it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from models.errors import CorruptArtifact
from tasks.bundles.pointer import MANIFEST, pointer_path, read_pointer
from tasks.local.folder_name import folder_name
from tasks.local.home import Home


def serving_folder(home: Home, model_name: str, silo: str | None = None) -> Path:
    """Return the folder of a model's pointer and bundles; that of a silo if its own users are served."""
    folder = home.serving / folder_name(model_name)
    return folder if silo is None else folder / "silos" / folder_name(silo)


def published_models(home: Home) -> list[str]:
    """Return the names of the models that are published in this home, sorted. Silos' folders do not count."""
    found = set()
    for path in home.serving.glob("*/current.json"):
        folder = path.parent
        try:
            if pointer := read_pointer(folder):
                manifest = json.loads((folder / pointer.champion.bundle / MANIFEST).read_bytes())
                found.add(str(manifest["facts"]["model_name"]))
        except (CorruptArtifact, OSError, ValueError, KeyError, TypeError):
            continue
    return sorted(found)


def remove_shared_layout(home: Home) -> bool:
    """Remove what earlier versions of fedrec published, and return whether there was something.

    They kept one pointer for all models, and could take the bundle of one model for another's. So their
    bundles are not used any more. The publisher writes all that it needs again.
    """
    root = home.serving
    if not pointer_path(root).is_file():
        return False
    old = [path.parent for path in root.glob(f"*-*/{MANIFEST}")] + [root / "users", root / "tallies"]
    for folder in old:
        if not pointer_path(folder).exists():
            shutil.rmtree(folder, ignore_errors=True)
    # The pointer comes last, so that an interrupted removal is continued.
    for name in ("nudge", "publisher.json", pointer_path(root).name):
        (root / name).unlink(missing_ok=True)
    return True
