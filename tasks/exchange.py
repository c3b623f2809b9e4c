"""The exchange: where models go down to the clients and updates come up.

Any fsspec URL serves. Objects are named by their SHA-256, written once, and checked whenever they are read,
so that neither side has to trust the storage between them.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass

import fsspec

from models.errors import CorruptArtifact


@dataclass(frozen=True)
class ArtifactRef:
    """What travels through Prefect in place of an array.

    Attributes:
        path: below the root of the exchange.
        sha256: of the object's bytes.
        size: in bytes.
    """

    path: str
    sha256: str
    size: int


class Exchange:
    """An exchange at one fsspec URL, such as `file:///srv/fedrec/exchange` or `s3://bucket/fedrec`.

    Args:
        url: of the root folder.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = fsspec.core.url_to_fs(url)

    def put(self, folder: str, data: bytes) -> ArtifactRef:
        """`data` is stored below `folder`; equal bytes change nothing, or mend a damaged object."""
        digest = hashlib.sha256(data).hexdigest()
        ref = ArtifactRef(path=f"{folder}/{digest}.safetensors", sha256=digest, size=len(data))
        target = self._at(ref.path)
        if not self._holds(ref):
            self._files.makedirs(self._at(folder), exist_ok=True)
            # A reader never sees a part: the object appears under its name only when it is whole.
            temporary = f"{target}.{uuid.uuid4().hex}.part"
            self._files.pipe_file(temporary, data)
            self._files.mv(temporary, target)
        return ref

    def get(self, ref: ArtifactRef) -> bytes:
        """The bytes that `ref` names.

        Raises:
            CorruptArtifact: they are missing, of another size, or of another SHA-256.
        """
        target = self._at(ref.path)
        try:
            size = self._files.size(target)
            if size != ref.size:
                raise CorruptArtifact(f"{target} has {size} bytes, expected {ref.size}.", path=ref.path)
            data: bytes = self._files.cat_file(target)
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{target} is missing from the exchange.", path=ref.path) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != ref.sha256:
            raise CorruptArtifact(
                f"{target} has SHA-256 {digest[:12]}, expected {ref.sha256[:12]}.", path=ref.path
            )
        return data

    def remove(self, folder: str) -> None:
        """Nothing is left below `folder`."""
        if self._files.exists(self._at(folder)):
            self._files.rm(self._at(folder), recursive=True)

    def _holds(self, ref: ArtifactRef) -> bool:
        try:
            self.get(ref)
        except CorruptArtifact:
            return False
        return True

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"
