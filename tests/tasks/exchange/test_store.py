"""The exchange: objects are named by their content and checked at every read."""

from __future__ import annotations

import contextlib
import hashlib
import resource
import tracemalloc
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from models.errors import CorruptArtifact
from tasks.exchange.store import ArtifactRef, Exchange
from tests.worlds.damaged_objects import DAMAGES, assert_refused_and_mended


@pytest.fixture(params=["file", "memory"])
def exchange(request, tmp_path: Path) -> Exchange:
    """Return an exchange on disk, and one in fsspec's memory that stands for any object store."""
    return Exchange((tmp_path / "x").as_uri() if request.param == "file" else f"memory://{uuid.uuid4().hex}")


@pytest.fixture
def local(tmp_path: Path) -> Exchange:
    return Exchange((tmp_path / "x").as_uri())


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Let the system end each write that makes a file larger, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def stored(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "x").rglob("*") if path.is_file())


def test_an_object_is_named_by_its_content_and_read_back(exchange):
    ref = exchange.put("job/models", b"model")
    digest = hashlib.sha256(b"model").hexdigest()
    assert ref == ArtifactRef(path=f"job/models/{digest}.safetensors", sha256=digest, size=5)
    assert exchange.get(ref) == b"model"
    assert exchange.put("job/models", b"model") == ref
    assert exchange.get(exchange.put("job/models", b"")) == b""
    # Another process opens the same exchange for itself.
    assert Exchange(exchange.url).get(ref) == b"model"


def test_removing_a_folder_leaves_the_others(exchange):
    kept, gone = exchange.put("job/models", b"model"), exchange.put("job/updates/1/ash", b"update")
    exchange.remove("job/updates")
    exchange.remove("job/updates")
    assert exchange.get(kept) == b"model"
    with pytest.raises(CorruptArtifact, match="missing"):
        exchange.get(gone)


def test_an_object_may_be_the_only_one_of_its_folder(exchange):
    other = exchange.put("a", b"two")
    kept, elsewhere = exchange.put("a", b"one"), exchange.put("b", b"two")
    exchange.remove_others(kept)
    assert exchange.listed("a") == [kept]
    assert exchange.get(elsewhere) == b"two"
    with pytest.raises(CorruptArtifact):
        exchange.get(other)


def test_nothing_but_the_object_is_left_behind(local, tmp_path):
    ref = local.put("job/models", b"model")
    local.put("job/models", b"model")
    assert stored(tmp_path) == [tmp_path / "x" / ref.path]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_object_is_refused_and_storing_it_again_mends_it(local, tmp_path, damage):
    def overwrite(ref: ArtifactRef, data: bytes) -> None:
        (tmp_path / "x" / ref.path).write_bytes(data)

    ref = assert_refused_and_mended(local, damage, overwrite)
    assert stored(tmp_path) == [tmp_path / "x" / ref.path]


def test_a_wrong_reference_is_refused(exchange):
    ref = exchange.put("job/models", b"model")
    for lie in (replace(ref, size=4), replace(ref, sha256="0" * 64), replace(ref, path="job/none")):
        with pytest.raises(CorruptArtifact):
            exchange.get(lie)


class GrownSince(MemoryFileSystem):
    """A storage whose objects have grown since their size was read."""

    protocol = "grown"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    def size(self, path: str) -> int:
        return 5


def test_of_a_growing_object_only_the_expected_bytes_are_read():
    fsspec.register_implementation("grown", GrownSince, clobber=True)
    exchange = Exchange("grown://x")
    ref = exchange.put("job/models", b"model")
    files, root = fsspec.url_to_fs(exchange.url)
    files.pipe_file(f"{root}/{ref.path}", b"model" + bytes(2**26))
    tracemalloc.start()
    assert exchange.get(ref) == b"model"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_an_object_that_cannot_be_written_leaves_nothing(local, tmp_path):
    """As on a full disk, the system ends the write in the middle."""
    kept = local.put("job/models", b"model")
    with files_of_at_most(1_000_000), pytest.raises(OSError, match="File too large"):
        local.put("job/models", bytes(2_000_000))
    assert stored(tmp_path) == [tmp_path / "x" / kept.path]
    assert len(local.get(local.put("job/models", bytes(2_000_000)))) == 2_000_000


def test_objects_that_are_appended_are_read_back_whatever_came_between(exchange):
    first, empty = exchange.append("job/updates/1", b"update"), exchange.append("job/updates/1", b"")
    refs = [first, empty, *(exchange.append("job/updates/1", b"%d" % each) for each in range(50))]
    assert exchange.get(exchange.append("job/updates/2", b"other")) == b"other"
    found = [Exchange(exchange.url).get(ref) for ref in refs]
    assert found == [b"update", b"", *(b"%d" % each for each in range(50))]
    exchange.remove("job/updates")
    with pytest.raises(CorruptArtifact, match="missing"):
        exchange.get(first)


def test_threads_append_to_one_file(local, tmp_path):
    contents = [bytes([each]) * (1000 + each) for each in range(100)]
    with ThreadPoolExecutor(8) as threads:
        refs = list(threads.map(lambda each: local.append("job/updates/1", each), contents))
    assert [local.get(ref) for ref in refs] == contents
    assert len(stored(tmp_path)) == 1


@pytest.mark.parametrize("left", [b"upd", b"Update", b""])
def test_an_appended_object_that_was_cut_off_or_changed_is_refused(local, tmp_path, left):
    kept, ref = local.append("job/updates/1", b"kept"), local.append("job/updates/1", b"update")
    (path,) = stored(tmp_path)
    path.write_bytes(b"kept" + left)
    assert local.get(kept) == b"kept"
    with pytest.raises(CorruptArtifact, match="SHA-256"):
        local.get(ref)


def test_after_an_append_that_failed_the_next_ones_are_whole(local):
    kept = local.append("job/updates/1", b"kept")
    with files_of_at_most(1_000_000), pytest.raises(OSError, match="File too large"):
        local.append("job/updates/1", bytes(2_000_000))
    again = local.append("job/updates/1", bytes(2_000_000))
    assert (local.get(kept), len(local.get(again))) == (b"kept", 2_000_000)
