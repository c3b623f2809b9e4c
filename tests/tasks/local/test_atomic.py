"""Files that exist completely or not at all."""

from __future__ import annotations

import multiprocessing
import resource
import signal
from pathlib import Path

import pytest

from tasks.local.atomic import append, create_exclusively, replacing, write_atomically


@pytest.mark.parametrize("durable", [True, False])
def test_a_file_holds_the_last_write_and_nothing_else_is_left(tmp_path, durable):
    path = tmp_path / "deep" / "file.json"
    for data in (b"first", b"2", b""):
        write_atomically(path, data, durable=durable)
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_created_once(tmp_path):
    path = tmp_path / "deep" / "file.json"
    create_exclusively(path, b"first")
    with pytest.raises(FileExistsError):
        create_exclusively(path, b"second")
    assert path.read_bytes() == b"first"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("write", [write_atomically, create_exclusively])
def test_a_failed_write_leaves_nothing_unfinished(tmp_path, write):
    path = tmp_path / "file.json"
    with pytest.raises(TypeError):
        write(path, "text is not bytes")
    assert list(tmp_path.iterdir()) == []


def test_an_old_file_survives_a_failed_write(tmp_path):
    path = tmp_path / "file.json"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, "text is not bytes")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_may_take_the_place_of_another(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_bytes(b"longer than the new content")
    write_atomically(new, b"new", durable=False, instead_of=old)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"new": b"new"}
    write_atomically(new, b"again", durable=False, instead_of=tmp_path / "gone")
    assert new.read_bytes() == b"again"


def test_a_file_written_in_a_block_replaces_the_old_one_at_its_end(tmp_path):
    path = tmp_path / "deep" / "file.bin"
    for data in (b"first", b"second"):
        with replacing(path) as part:
            part.write_bytes(data)
            assert not path.exists() or path.read_bytes() == b"first"
        assert path.read_bytes() == data
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_block_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), replacing(path) as part:
        part.write_bytes(b"half of the ne")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_appended_bytes_follow_what_a_file_has(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"first")
    append(path, b" second")
    append(path, b"")
    assert path.read_bytes() == b"first second"


def test_to_a_missing_file_nothing_is_appended(tmp_path):
    with pytest.raises(FileNotFoundError):
        append(tmp_path / "file", b"more")
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_as_before_if_what_is_appended_does_not_fit(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    process = multiprocessing.get_context("fork").Process(target=append_beyond_a_limit, args=(path,))
    process.start()
    process.join(60)
    assert process.exitcode == 0
    assert path.read_bytes() == b"old"


def append_beyond_a_limit(path: Path) -> None:
    """Append more than fits, of which the system writes a part before it fails."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8, most))
    with pytest.raises(OSError, match="File too large"):
        append(path, b"longer than the limit")
