"""The exchange: where models go down to the clients and updates come up.

Any fsspec URL serves. Objects are named by their SHA-256, written once, and checked whenever they are read,
so that neither side has to trust the storage between them.
"""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import fsspec

from models.errors import CorruptArtifact

# Object stores: a written object appears at once and whole, no folder has to be made, and a rename would be a
# copy. Everywhere else an object is written under a temporary name and renamed.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"})


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
        # Listings are not kept: they would hide what another machine has written since.
        self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        self._stores_whole_objects = not names.isdisjoint(_OBJECT_STORES)

    def put(self, folder: str, data: bytes) -> ArtifactRef:
        """`data` is stored below `folder`; equal bytes change nothing, or mend a damaged object."""
        digest = hashlib.sha256(data).hexdigest()
        ref = ArtifactRef(path=f"{folder}/{digest}.safetensors", sha256=digest, size=len(data))
        target = self._at(ref.path)
        if not self._holds(ref):
            # A reader never sees a part: the object appears under its name only when it is whole.
            if self._stores_whole_objects:
                self._files.pipe_file(target, data)
            else:
                self._files.makedirs(self._at(folder), exist_ok=True)
                with self._temporary(target) as temporary:
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
            # No more than that, should it grow meanwhile. Of nothing S3 has no part.
            data: bytes = self._files.cat_file(target, end=size) if size else b""
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{target} is missing from the exchange.", path=ref.path) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != ref.sha256:
            raise CorruptArtifact(
                f"{target} has SHA-256 {digest[:12]}, expected {ref.sha256[:12]}.", path=ref.path
            )
        return data

    def listed(self, folder: str, at_most: int = 20) -> list[ArtifactRef]:
        """The objects that lie in `folder` now, by name; of other files there nothing is said.

        Args:
            folder: below the root.
            at_most: more than that are not even looked at, because anybody may write there.
        """
        try:
            found = self._files.ls(self._at(folder), detail=True)
        except FileNotFoundError:
            return []
        refs = []
        for entry in sorted(found, key=lambda each: str(each["name"]))[:at_most]:
            name, dot, ending = str(entry["name"]).rpartition("/")[2].partition(".")
            if dot and ending == "safetensors" and entry["type"] == "file":
                refs.append(ArtifactRef(f"{folder}/{name}.{ending}", name, int(entry["size"])))
        return refs

    def remove(self, folder: str) -> None:
        """Nothing is left below `folder`."""
        if self._files.exists(self._at(folder)):
            self._files.rm(self._at(folder), recursive=True)

    @contextlib.contextmanager
    def _temporary(self, target: str) -> Iterator[str]:
        """A name beside `target`; where the block fails, as on a full disk, nothing is left there."""
        name = f"{target}.{uuid.uuid4().hex}.part"
        try:
            yield name
        except BaseException:
            with contextlib.suppress(OSError):
                self._files.rm_file(name)
            raise

    def _holds(self, ref: ArtifactRef) -> bool:
        try:
            self.get(ref)
        # An account that may write but neither read nor list is told nothing about what is there.
        except (CorruptArtifact, PermissionError):
            return False
        return True

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"
