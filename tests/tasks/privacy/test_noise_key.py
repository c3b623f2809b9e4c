"""The secret key of a client's noise is made once, for its owner only, and stays for all of a job."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from models.errors import CorruptArtifact, EgressRefused, InvalidInput
from tasks.privacy.noise_key import noise_key


def test_a_key_is_made_once_for_its_owner_only(tmp_path):
    key = noise_key(tmp_path / "silos" / "ash", "job-1")
    file = tmp_path / "silos" / "ash" / "noise.key"
    assert len(key) == 32
    assert file.read_bytes() == noise_key(file.parent, "job-2") == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert {each.name for each in file.parent.iterdir()} == {"noise.key", "promises"}


def test_two_clients_have_different_keys(tmp_path):
    assert noise_key(tmp_path / "ash", "job-1") != noise_key(tmp_path / "birch", "job-1")


def test_all_that_ask_at_the_same_time_get_the_same_key(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(lambda _: noise_key(tmp_path / "ash", "job-1"), range(64)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_a_key_that_others_can_access_is_refused(tmp_path, mode):
    noise_key(tmp_path, "job-1")
    (tmp_path / "noise.key").chmod(mode)
    with pytest.raises(InvalidInput, match=rf"mode {mode:04o}.* chmod 600"):
        noise_key(tmp_path, "job-1")


@pytest.mark.parametrize("data", [b"", b"x" * 31, b"x" * 33])
def test_a_file_that_is_no_key_is_refused_and_kept(tmp_path, data):
    (tmp_path / "noise.key").write_bytes(data)
    (tmp_path / "noise.key").chmod(0o600)
    with pytest.raises(CorruptArtifact, match=f"{len(data)} bytes, expected 32"):
        noise_key(tmp_path, "job-1")
    assert (tmp_path / "noise.key").read_bytes() == data


def test_a_job_gets_no_second_draw_with_a_key_that_was_lost_or_replaced(tmp_path):
    first, file = noise_key(tmp_path, "job-1"), tmp_path / "noise.key"
    file.rename(tmp_path / "kept")
    with pytest.raises(EgressRefused, match=r"noise\.key is missing since the first answer to job job-1"):
        noise_key(tmp_path, "job-1")
    assert not file.exists()
    # A job that has got nothing yet has a key of its own.
    second = noise_key(tmp_path, "job-2")
    with pytest.raises(EgressRefused, match=r"noise\.key has changed since the first answer to job job-1"):
        noise_key(tmp_path, "job-1")
    assert noise_key(tmp_path, "job-2") == second != first
    (tmp_path / "kept").replace(file)
    assert noise_key(tmp_path, "job-1") == first
    with pytest.raises(EgressRefused, match="has changed since the first answer to job job-2"):
        noise_key(tmp_path, "job-2")


def test_what_a_client_writes_down_of_its_key_is_not_the_key(tmp_path):
    key = noise_key(tmp_path, "job-1")
    (written,) = (tmp_path / "promises").iterdir()
    assert key not in written.read_bytes()
    assert key.hex() not in written.read_text()
