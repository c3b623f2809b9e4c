"""What is not used any more is removed, and nothing else."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tasks.bundles.pointer import Pointer
from tasks.bundles.published import remove_unused
from tests.worlds.served import put_bundle


def staging(path: Path, *, age_s: float, inner_age_s: float) -> Path:
    """Make a folder as `build_folder` fills it, last written to so many seconds ago."""
    file = path / "new" / "x.npy"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"x")
    for each, age in ((file, inner_age_s), (file.parent, age_s), (path, age_s)):
        os.utime(each, (time.time() - age,) * 2)
    return path


def test_what_killed_processes_left_is_removed_after_an_hour(tmp_path: Path) -> None:
    target = put_bundle(tmp_path)
    left = [
        staging(place / ".2-y.abc", age_s=4000, inner_age_s=4000) for place in (tmp_path, tmp_path / "users")
    ]
    kept = [
        staging(tmp_path / ".3-z.abc", age_s=3000, inner_age_s=3000),
        staging(tmp_path / ".4-z.abc", age_s=4000, inner_age_s=10),  # a long download
        staging(tmp_path / ".other.abc", age_s=4000, inner_age_s=4000),
    ]
    remove_unused(tmp_path, Pointer(target))
    assert not any(path.exists() for path in left)
    assert all(path.exists() for path in [*kept, tmp_path / target.bundle])
