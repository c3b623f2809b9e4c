"""The secret key of a client's noise is made once, and is for its owner only."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import CorruptArtifact, InvalidInput
from tasks.privacy.noise_key import noise_key


def test_a_key_is_made_once_for_its_owner_only(tmp_path):
    key = noise_key(tmp_path / "silos" / "ash")
    file = tmp_path / "silos" / "ash" / "noise.key"
    assert len(key) == 32
    assert file.read_bytes() == noise_key(file.parent) == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert [each.name for each in file.parent.iterdir()] == ["noise.key"]


def test_two_clients_have_different_keys(tmp_path):
    assert noise_key(tmp_path / "ash") != noise_key(tmp_path / "birch")


def test_all_that_ask_at_the_same_time_get_the_same_key(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(noise_key, [tmp_path / "ash"] * 64))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_key_that_others_can_access_is_refused(tmp_path, mode):
    noise_key(tmp_path)
    (tmp_path / "noise.key").chmod(mode)
    with pytest.raises(InvalidInput, match=rf"mode {mode:04o}.* chmod 600"):
        noise_key(tmp_path)


@pytest.mark.parametrize("data", [b"", b"x" * 31, b"x" * 33])
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path, data):
    (tmp_path / "noise.key").write_bytes(data)
    (tmp_path / "noise.key").chmod(0o600)
    with pytest.raises(CorruptArtifact, match=f"{len(data)} bytes, expected 32"):
        noise_key(tmp_path)
    assert (tmp_path / "noise.key").read_bytes() == data
