"""The exchange: the storage through which clients get models and send updates.

Any fsspec URL works. Objects are named by their SHA-256, written once and verified at each read, so that
neither side has to trust the storage.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import unquote

from models.errors import CorruptArtifact
from tasks.local.atomic import write_atomically

# In object stores a written object appears whole, folders need not be made, and a rename would copy. In all
# other stores an object is written under a temporary name and then renamed.
_OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oci", "oss", "memory"})
# Processes of a cluster may append to the same folder.
_PROCESS = uuid.uuid4().hex
_APPENDING = Lock()


@dataclass(frozen=True)
class ArtifactRef:
    """A reference to an object, which travels through Prefect in place of the object's arrays.

    Attributes:
        path: relative to the root of the exchange.
        sha256: of the object's bytes.
        size: in bytes.
    """

    path: str
    sha256: str
    size: int


@dataclass(frozen=True)
class AppendedRef(ArtifactRef):
    """A reference to one of the objects that share a file.

    Attributes:
        start: number of the file's bytes before the object.
    """

    start: int


class Exchange:
    """An exchange at one fsspec URL, such as `file:///srv/fedrec/exchange` or `s3://bucket/fedrec`.

    Args:
        url: of the root folder. In a file URL, `%20` stands for a blank, as `Path.as_uri` writes it.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = _opened(url)
        protocol = self._files.protocol
        names = {protocol} if isinstance(protocol, str) else set(protocol)
        # A job reads and writes a file for each client and round: without fsspec in a third of the time.
        self._is_local = "file" in names
        self._stores_whole_objects = not names.isdisjoint(_OBJECT_STORES)

    def put(self, folder: str, data: bytes, sha256: str | None = None) -> ArtifactRef:
        """Store `data` in `folder`; an intact object of equal bytes is kept, a damaged one replaced.

        Args:
            folder: relative to the root.
            data: the object.
            sha256: of `data`, if the caller has computed it.
        """
        digest = sha256 or hashlib.sha256(data).hexdigest()
        ref = ArtifactRef(path=f"{folder}/{digest}.safetensors", sha256=digest, size=len(data))
        target = self._at(ref.path)
        if not self._holds(ref):
            # The object appears under its name only when it is whole, so no reader sees a part.
            if self._is_local:
                write_atomically(Path(target), data, durable=False)
            elif self._stores_whole_objects:
                self._files.pipe_file(target, data)
            else:
                self._files.makedirs(self._at(folder), exist_ok=True)
                with self._temporary(target) as temporary:
                    self._files.pipe_file(temporary, data)
                    self._files.mv(temporary, target)
        return ref

    def append(self, folder: str, data: bytes) -> ArtifactRef:
        """Store `data` in `folder`, on a local disk in one file with what else this process appends.

        To create a file can take ten times as long as to write it. For many clients that is longer than their
        training. An object that a crash cuts off has no reference.
        """
        if not self._is_local:
            return self.put(folder, data)
        path = f"{folder}/{_PROCESS}.appended"
        target = Path(self._at(path))
        with _APPENDING:
            try:
                file = target.open("ab")
            except FileNotFoundError:
                target.parent.mkdir(parents=True, exist_ok=True)
                file = target.open("ab")
            with file:
                start = file.tell()
                file.write(data)
        return AppendedRef(path, hashlib.sha256(data).hexdigest(), len(data), start)

    def get(self, ref: ArtifactRef) -> bytes:
        """Return the bytes that `ref` names.

        Raises:
            CorruptArtifact: they are missing, or have another size or SHA-256.
        """
        target = self._at(ref.path)
        try:
            if isinstance(ref, AppendedRef):
                data = _part_of(Path(target), ref.start, ref.size)
            else:
                size = Path(target).stat().st_size if self._is_local else self._files.size(target)
                if size != ref.size:
                    raise CorruptArtifact(f"{target} has {size} bytes, expected {ref.size}.", path=ref.path)
                data = self._start_of(target, size)
        except FileNotFoundError as error:
            raise CorruptArtifact(f"{target} is missing from the exchange.", path=ref.path) from error
        digest = hashlib.sha256(data).hexdigest()
        if digest != ref.sha256:
            raise CorruptArtifact(
                f"{target} has SHA-256 {digest[:12]}, expected {ref.sha256[:12]}.", path=ref.path
            )
        return data

    def listed(self, folder: str, limit: int = 20) -> list[ArtifactRef]:
        """Return the objects in `folder`, sorted by name; other files are ignored.

        Args:
            folder: relative to the root.
            limit: only the first `limit` files are examined, because anyone may write many files there.
        """
        try:
            found = self._files.ls(self._at(folder), detail=True)
        except FileNotFoundError:
            return []
        refs = []
        for entry in sorted(found, key=lambda each: str(each["name"]))[:limit]:
            name, dot, ending = str(entry["name"]).rpartition("/")[2].partition(".")
            if dot and ending == "safetensors" and entry["type"] == "file":
                refs.append(ArtifactRef(f"{folder}/{name}.{ending}", name, int(entry["size"])))
        return refs

    def remove(self, folder: str) -> bool:
        """Delete everything in `folder`, and return whether there was something."""
        if not self._files.exists(self._at(folder)):
            return False
        self._files.rm(self._at(folder), recursive=True)
        return True

    def remove_others(self, ref: ArtifactRef) -> None:
        """Delete what else is in an object's folder, also files that a crash left half written."""
        folder, _, name = ref.path.rpartition("/")
        for path in self._files.ls(self._at(folder), detail=False):
            if str(path).rpartition("/")[2] != name:
                with contextlib.suppress(FileNotFoundError):
                    self._files.rm_file(path)

    def _start_of(self, target: str, size: int) -> bytes:
        """Return the first `size` bytes of an object, which may grow meanwhile."""
        if self._is_local:
            return _part_of(Path(target), 0, size)
        # S3 refuses a range of an empty object.
        data: bytes = self._files.cat_file(target, end=size) if size else b""
        return data

    @contextlib.contextmanager
    def _temporary(self, target: str) -> Iterator[str]:
        """Yield a temporary name in the folder of `target`; deletes that file if the block raises."""
        name = f"{target}.{uuid.uuid4().hex}.part"
        try:
            yield name
        except BaseException:
            with contextlib.suppress(OSError):
                self._files.rm_file(name)
            raise

    def _holds(self, ref: ArtifactRef) -> bool:
        if self._is_local and not os.path.exists(self._at(ref.path)):  # noqa: PTH110  # twice as fast
            return False
        try:
            self.get(ref)
        # An account may have the right to write but not to read or list.
        except (CorruptArtifact, PermissionError):
            return False
        return True

    def _at(self, path: str) -> str:
        return f"{self._root.rstrip('/')}/{path}"


def _part_of(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


@lru_cache(maxsize=16)
def open_exchange(url: str) -> Exchange:
    """Return the exchange at this URL, the same at each call."""
    return Exchange(url)


def _opened(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path of its root there."""
    import fsspec

    # No listings cache: it would hide objects that another machine has written since.
    if url.startswith("file://"):
        # fsspec takes the text behind file:// as it is, so that the folder of `/a b` would be `/a%20b`.
        return fsspec.filesystem("file", use_listings_cache=False), unquote(url.removeprefix("file://"))
    found: tuple[Any, str] = fsspec.core.url_to_fs(url, use_listings_cache=False)
    return found
