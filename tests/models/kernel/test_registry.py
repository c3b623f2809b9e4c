"""Things by name, those of installed packages among them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A function that installs a package whose entry point of group `test.things` is this."""

    def install(entry_point: str) -> None:
        module = "import models.kernel.test_things_registry as here\n" if False else ""
        (tmp_path / "stranger.py").write_text(module + "loads = []\nclass Thing: pass\n")
        info = tmp_path / "stranger-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[test.things]\nthing = {entry_point}\n")
        monkeypatch.syspath_prepend(tmp_path)

    return install
