"""`build_folder` makes a whole folder or none."""

from __future__ import annotations

import shutil

import pytest

from tasks.local.folders import build_folder, is_vacant


def test_a_link_to_the_target_stays_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "old").touch()
    (tmp_path / "link").symlink_to("real")
    with build_folder(tmp_path / "link") as folder:
        (folder / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_the_old_folder_is_restored_if_the_new_one_cannot_take_its_place(tmp_path):
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(FileNotFoundError), build_folder(target) as folder:
        shutil.rmtree(folder)
    assert [path.name for path in target.iterdir()] == ["old"]
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_an_interrupted_block_leaves_nothing(tmp_path):
    with pytest.raises(KeyboardInterrupt), build_folder(tmp_path / "a" / "b") as folder:
        (folder / "half").touch()
        raise KeyboardInterrupt
    assert list((tmp_path / "a").iterdir()) == []


def test_a_free_place_is_absent_or_an_empty_folder(tmp_path):
    assert is_vacant(tmp_path / "nothing")
    assert is_vacant(tmp_path)
    (tmp_path / "file").touch()
    assert not is_vacant(tmp_path)
    assert not is_vacant(tmp_path / "file")
