"""What is promoted, for the silos that serve it: the champion's bundle of each model, file by file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from models.errors import CorruptArtifact
from tasks.bundles.pointer import MANIFEST, Target, read_pointer
from tasks.bundles.serving_folder import serving_folder
from tasks.local.home import Home


@dataclass(frozen=True)
class PublishedFile:
    """A file of a bundle.

    Attributes:
        name, sha256, size: name, SHA-256 and length in bytes.
        path: where it is.
    """

    name: str
    sha256: str
    size: int
    path: Path


@dataclass(frozen=True)
class PublishedModel:
    """A model and its champion.

    Attributes:
        model_name: the registered model.
        target: the champion's bundle, and the decision that promoted it.
        files: of the bundle, with its manifest.
    """

    model_name: str
    target: Target
    files: tuple[PublishedFile, ...]


def published_model(home: Home, model_name: str) -> PublishedModel | None:
    """Return a model's champion; None if nothing is published, or the next champion is just being published.

    Raises:
        CorruptArtifact: the pointer or the manifest cannot be read.
    """
    folder = serving_folder(home, model_name)
    pointer = read_pointer(folder)
    if pointer is None:
        return None
    champion = pointer.champion
    bundle = folder / str(champion.bundle)
    try:
        digests = json.loads((bundle / MANIFEST).read_bytes())["files"]
        files = tuple(
            PublishedFile(name, sha256, (bundle / name).stat().st_size, bundle / name)
            for name, sha256 in sorted({**digests, MANIFEST: champion.manifest_sha256}.items())
        )
        names = (champion.bundle, champion.manifest_sha256, *digests, *digests.values())
        if not all(isinstance(each, str) for each in names) or not isinstance(champion.decision, Mapping):
            raise TypeError("a part has another type")
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CorruptArtifact(f"{bundle / MANIFEST} is no manifest: {error!r}.") from error
    return PublishedModel(model_name, champion, files)
