"""`fedrec serve` and mistyped commands: what is wrong is said before anything starts."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import cli
from flows.commands.serving.serve import become_service
from models.errors import InvalidInput


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_port_in_use_is_refused_before_the_publisher_starts(
    family: int, host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path))
    with socket.socket(family) as taken:
        try:
            taken.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(
            InvalidInput, match=rf"{host}:{port}: Address already in use\. Choose another --port"
        ):
            become_service("movies", host, port, 1, 0.0, None, [])
    assert [*tmp_path.rglob("*")] in ([], [tmp_path / "mlflow"])


@pytest.mark.parametrize(
    ("written", "meant"),
    [("trian", "train"), ("promo", "promote"), ("recomend", "recommend"), ("silo enroll", "enrol")],
)
def test_a_mistyped_command_is_suggested(written: str, meant: str) -> None:
    done = CliRunner().invoke(cli, written.split())
    assert done.exit_code == 2
    assert f"Did you mean '{meant}'?" in done.output
