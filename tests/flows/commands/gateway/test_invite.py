"""Wrong options of the coordinator's commands are clear errors, and leave nothing behind."""

from __future__ import annotations

import json
import stat
import time
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from flows.commands.gateway import invite, serve, silos
from models.errors import InvalidInput
from tasks.coordinator.trust_store import TrustStore
from tasks.gateway.certificates import hosts_of, is_valid_for, self_signed, valid_host
from tasks.gateway.database import open_database
from tasks.gateway.invitations import Invitation, Invitations
from tasks.gateway.visits import Visits
from tasks.local.home import Home
from tasks.silos.gateway_client import Address, GatewayClient
from tasks.silos.keys import make_key

URL = "https://127.0.0.1:8443"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.setenv("FEDREC_HOME", str(tmp_path / "home"))
    return Home(tmp_path / "home")


def run(command: click.Command, *arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def refused(result: Result) -> str:
    """Return the message of a command that ends with exit code 2."""
    if isinstance(result.exception, SystemExit):
        assert result.exit_code == 2, result.output
        return result.output
    assert isinstance(result.exception, InvalidInput), result.exception
    assert result.exception.exit_code == 2
    return str(result.exception)


def invited(home: Home) -> list[str]:
    return [silo for silo, _ in Invitations(open_database(home)).open()]


def test_an_invitation_is_written_with_the_token_of_its_row(home: Home, tmp_path: Path) -> None:
    out = tmp_path / "ash.json"
    assert run(invite.command, "ash", "--url", URL, "--out", str(out), "--days", "3650").exit_code == 0
    made = Invitation.of_json(out.read_bytes())
    assert made.until > time.time() + 3649 * 86_400
    assert Invitations(open_database(home)).use("ash", made.token, "1" * 64)
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_an_invitation_has_the_certificate_that_is_valid_for_its_address(home: Home, tmp_path: Path) -> None:
    certificate, _ = self_signed(home, "localhost")
    out = tmp_path / "ash.json"
    done = run(invite.command, "ash", "--url", "https://LocalHost:8443", "--out", str(out))
    assert Invitation.of_json(out.read_bytes()).ca == certificate.read_text()
    assert "Warning" not in done.output
    other = run(invite.command, "ash", "--url", URL, "--out", str(out))
    assert other.exit_code == 0
    assert Invitation.of_json(out.read_bytes()).ca is None
    assert "valid for localhost, not for 127.0.0.1" in other.output
    assert "--url https://localhost:8443, or" in other.output
    given = run(invite.command, "ash", "--url", URL, "--out", str(out), "--ca", str(certificate))
    assert "Warning" not in given.output


@pytest.mark.parametrize(
    ("made_for", "host", "shown"),
    [
        ("localhost", "127.0.0.1", "localhost"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
        ("gateway.example", "192.0.2.7", "gateway.example"),
        ("*.example", "gateway.example", "gateway.example"),
        ("*.example", "a.gateway.example", "a.gateway.example"),
    ],
)
def test_a_gateway_shows_an_address_that_its_certificate_is_valid_for(
    tmp_path: Path, made_for: str, host: str, shown: str
) -> None:
    certificate, _ = self_signed(Home(tmp_path), made_for)
    assert valid_host(certificate.read_bytes(), host) == shown
    is_valid = is_valid_for(hosts_of(certificate.read_bytes()), host)
    assert is_valid == (made_for == host or (made_for, host) == ("*.example", "gateway.example"))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--url", URL, "--out", "{tmp}/none/i"], "cannot be written"),
        (["--url", URL, "--out", "/dev/null"], "not a regular file"),
        (["--url", URL, "--out", "{tmp}"], "is a directory"),
        (["--url", URL, "--out", "{tmp}/i", "--ca", "{tmp}/odd"], "does not contain certificates"),
        (["--url", URL, "--out", "{tmp}/i", "--ca", "{tmp}/empty"], "does not contain certificates"),
        (["--url", URL, "--out", "{tmp}/i", "--ca", "{tmp}/bytes"], "does not contain certificates"),
        (["--url", URL, "--out", "{tmp}/i", "--days", "3651"], "1<=x<=3650"),
        (["--url", "127.0.0.1:8443", "--out", "{tmp}/i"], "not the address of a gateway"),
        (["--url", "ftp://x", "--out", "{tmp}/i"], "not the address of a gateway"),
        (["--url", "https://", "--out", "{tmp}/i"], "not the address of a gateway"),
        (["--url", "https://x:99999", "--out", "{tmp}/i"], "not the address of a gateway"),
        (["--url", "https://[x", "--out", "{tmp}/i"], "not the address of a gateway"),
        (["--url", "https://x y", "--out", "{tmp}/i"], "not the address of a gateway"),
    ],
)
def test_a_wrong_option_leaves_no_open_invitation(
    home: Home, tmp_path: Path, options: list[str], word: str
) -> None:
    (tmp_path / "odd").write_text("-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    said = refused(run(invite.command, "ash", *(each.format(tmp=tmp_path) for each in options)))
    assert word in said
    assert invited(home) == []
    assert not (tmp_path / "i").exists()


@pytest.mark.parametrize("before", ["link", "file"])
def test_a_file_that_others_read_is_not_written_to(home: Home, tmp_path: Path, before: str) -> None:
    out, read_by_all = tmp_path / "ash.json", tmp_path / "all.json"
    read_by_all.write_text("before")
    read_by_all.chmod(0o644)
    if before == "link":
        out.symlink_to(read_by_all)
    else:
        out.hardlink_to(read_by_all)
    assert run(invite.command, "ash", "--url", URL, "--out", str(out)).exit_code == 0
    assert stat.S_IMODE(out.lstat().st_mode) == 0o600
    assert Invitation.of_json(out.read_bytes()).silo == "ash"
    assert not out.is_symlink()
    assert read_by_all.read_text() == "before"


@pytest.mark.parametrize("ca", [1, [], {}, False])
def test_the_certificates_of_an_invitation_are_text(ca: Any) -> None:
    right = Invitation("ash", URL, "0" * 64, "t", 1.0, "pem")
    assert Invitation.of_json(right.to_json()) == right
    with pytest.raises(InvalidInput, match="certificates are not text"):
        Invitation.of_json(json.dumps({**json.loads(right.to_json()), "ca": ca}).encode())


def test_an_address_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="not the address of a gateway"):
        GatewayClient(Address("http://x:port", "0" * 64), make_key(Home(tmp_path)))


@pytest.mark.parametrize("absurd", [1e300, float("inf"), -1e18, 4e11])
def test_the_list_of_silos_survives_an_absurd_time(home: Home, absurd: float) -> None:
    TrustStore(home).trust("ash", make_key(Home(home.root / "ash")).public)
    engine = open_database(home)
    assert Visits(engine).all() == {}
    Invitations(engine).make("birch", 4e11)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "insert into silos (silo, seen_at, clock_offset_s, version, did) values (?, ?, ?, '', '')",
            ("ash", absurd, absurd),
        )
    assert "ash" in run(silos.command).output
    found = json.loads(run(silos.command, "--json").output)
    assert (found["silos"][0]["last_seen"], found["invited"][0]["expires"]) == ("unknown", "unknown")


@pytest.mark.parametrize("host", ["../x", "a/b", "https://x", "", "x y", "-x", ".", "\xe9", "x" * 201])
def test_a_host_that_is_none_is_refused(home: Home, host: str) -> None:
    said = refused(run(serve.command, "--self-signed", host))
    assert ("not the name or the address of a host" if host else "Give one of") in said
    assert not (home.root / "gateway" / "tls").exists()


@pytest.mark.parametrize("wrong", ["certificate", "key", "pair"])
def test_a_wrong_certificate_file_is_refused(home: Home, tmp_path: Path, wrong: str) -> None:
    certificate, key = self_signed(Home(tmp_path / "one"), "x")
    other = self_signed(Home(tmp_path / "other"), "x")[1]
    odd = tmp_path / "odd"
    odd.write_text("x")
    given = {"certificate": (odd, key), "key": (certificate, odd), "pair": (certificate, other)}[wrong]
    said = refused(run(serve.command, "--certificate", str(given[0]), "--private-key", str(given[1])))
    assert "not a certificate and its private key" in said
