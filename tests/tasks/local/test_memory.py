"""What may be taken is what the machine has, unless a control group leaves less."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from tasks.local.memory import available_bytes

MB = 1 << 20


def group(folder: Path, limit: str, use: int, cache: int, *, version: int = 2) -> None:
    """Write the files of a control group as Linux shows them."""
    names = ["memory.max", "memory.current", "inactive_file"]
    if version == 1:
        names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{use}\n")
    (folder / "memory.stat").write_text(f"anon 1\n{names[2]} {cache}\n")


def own_file(folder: Path, line: str) -> Path:
    path = folder / "own"
    path.write_text(f"3:cpu:/other\n{line}\n")
    return path


def test_a_group_leaves_its_limit_without_its_use_but_its_cache_is_free(tmp_path):
    group(tmp_path / "groups" / "job", str(20 * MB), 15 * MB, 3 * MB)
    assert available_bytes(tmp_path / "groups", own_file(tmp_path, "0::/job")) == 8 * MB


@pytest.mark.parametrize("tightest", ["", "outer", "outer/inner"])
def test_the_tightest_of_the_groups_around_a_process_counts(tmp_path, tightest):
    for name in ("", "outer", "outer/inner"):
        limit = 20 * MB if name == tightest else 40 * MB
        group(tmp_path / "groups" / name, str(limit), 15 * MB, 0)
    assert available_bytes(tmp_path / "groups", own_file(tmp_path, "0::/outer/inner")) == 5 * MB


def test_a_container_s_own_group_is_the_root_whatever_its_path(tmp_path):
    group(tmp_path / "groups" / "memory", str(20 * MB), 15 * MB, MB, version=1)
    own = own_file(tmp_path, "9:memory:/docker/4f2a")
    assert available_bytes(tmp_path / "groups", own) == 6 * MB


def test_a_group_beyond_its_limit_leaves_nothing(tmp_path):
    group(tmp_path / "groups", str(20 * MB), 25 * MB, 0)
    assert available_bytes(tmp_path / "groups", own_file(tmp_path, "0::/")) == 0


@pytest.mark.parametrize("line", ["0::/job", "0::/nowhere"])
def test_without_a_limit_it_is_what_the_machine_has(tmp_path, line):
    group(tmp_path / "groups" / "job", "max", 15 * MB, 0)
    found = available_bytes(tmp_path / "groups", own_file(tmp_path, line))
    total = psutil.virtual_memory().total
    assert 0 < found <= total
    assert 0 < available_bytes(own=tmp_path / "no such file") <= total
