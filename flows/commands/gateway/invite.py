"""`fedrec invite`: writes the file with which a silo joins."""

from __future__ import annotations

import contextlib
import os
import secrets
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from flows.commands.gateway.orders_option import orders_option
from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option
from models.errors import InvalidInput

if TYPE_CHECKING:
    from tasks.local.home import Home

_DAY_S, _MOST_DAYS = 86_400, 3650


@click.command("invite")
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="Address of the gateway, as the silo reaches it.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="PEM file of the certificates to trust.  [default: the one of --self-signed, if there is one]",
)
@number_option("--days", click.IntRange(1, _MOST_DAYS), 7, "Days until it expires.")
@orders_option
@json_option
def command(
    name: str, url: str, out: Path, ca: Path | None, days: int, orders: str | None, as_json: bool
) -> None:
    """Write an invitation for the silo NAME: with this file it enrols its key, once.

    Send the file over a channel that only the silo's owner reads. The silo runs fedrec silo join FILE.
    """
    from tasks.coordinator.trust_store import require_silo_name
    from tasks.gateway.database import open_database
    from tasks.gateway.invitations import Invitation, Invitations
    from tasks.gateway.own_key import own_key
    from tasks.local.home import current_home
    from tasks.silos.keys import fingerprint

    require_silo_name(name)
    home, until = current_home(), time.time() + days * _DAY_S
    trusted = ca or _own_certificate(home, url)
    invitation = Invitation(
        silo=name,
        url=url.rstrip("/"),
        coordinator=fingerprint(own_key(home).public),
        token=secrets.token_urlsafe(32),  # of nothing, and as long as the real one
        until=until,
        ca=_certificates(trusted) if trusted else None,
    )
    invitations = Invitations(open_database(home, orders))
    with _private_file(out) as temporary:
        # Once the file could be written, the real token is made: a failure leaves no open invitation.
        temporary.write_bytes(invitation.to_json())
        invitation = replace(invitation, token=invitations.make(name, until))
        temporary.write_bytes(invitation.to_json())
    expires = datetime.fromtimestamp(until, UTC).isoformat(timespec="minutes")
    result = {"silo": name, "file": str(out), "expires": expires, "coordinator": invitation.coordinator}

    def show() -> None:
        click.echo(f"{out} lets silo {name} join once, until {expires}. The silo's owner runs:\n")
        click.echo(f"  fedrec silo join {out.name}\n")
        click.echo(f"Tell the owner this fingerprint over another channel: {invitation.coordinator}")

    emit(result, as_json=as_json, show=show)


def _own_certificate(home: Home, url: str) -> Path | None:
    """Return the certificate of --self-signed that is valid for an address; None without one.

    If there are others only, a silo may be unable to connect, so say for which hosts they are.
    """
    from tasks.gateway.certificates import hosts_of, is_valid_for, own_certificates

    host, others = _host_of(url), []
    for file in own_certificates(home):
        hosts = hosts_of(file.read_bytes())
        if is_valid_for(hosts, host):
            return file
        others += hosts
    if others and urlsplit(url).scheme == "https":
        click.echo(
            f"Warning: the gateway's own certificate is valid for {', '.join(others)}, not for {host}. So "
            "the invitation has none, and the silo trusts its system's authorities only. Unless one of them "
            f"signed the gateway's certificate, invite with --url https://{others[0]}:{_port_of(url)}, or "
            "with --ca FILE.",
            err=True,
        )
    return None


def _port_of(url: str) -> int:
    return urlsplit(url).port or 443


def _host_of(url: str) -> str:
    """Return the host of a gateway's address.

    Raises:
        InvalidInput: it is no such address.
    """
    try:
        parts = urlsplit(url)
        # `port` raises the error of a wrong port.
        if parts.hostname and parts.port != 0 and parts.scheme in ("http", "https") and _is_plain(url):
            return parts.hostname
    except ValueError:
        pass
    raise InvalidInput(
        f"--url {url!r} is not the address of a gateway.",
        next_step="Give it as https://HOST:PORT, as the silo reaches it.",
    )


def _is_plain(url: str) -> bool:
    return url.isascii() and url.isprintable() and " " not in url


def _certificates(path: Path) -> str:
    """Return the certificates in a PEM file.

    Raises:
        InvalidInput: there are none.
    """
    try:
        text = path.read_text()
        if not text.strip():
            raise ValueError("it is empty")
        ssl.create_default_context(cadata=text)
    except (OSError, ValueError) as error:
        raise InvalidInput(
            f"{path} does not contain certificates in PEM form: {error}.",
            next_step="Give the file of the certificate that the gateway shows, or of its authority.",
        ) from error
    return text


@contextlib.contextmanager
def _private_file(path: Path) -> Iterator[Path]:
    """Yield a new file that only this account can read, and move it to `path` after the block.

    Whoever has an invitation can join as its silo. A file that was there before, or the file that a link
    leads to, may be readable by others, so it is not written to.

    Raises:
        InvalidInput: no file can be made there.
    """
    if path.exists() and not path.is_file():
        raise InvalidInput(f"{path} is not a regular file.", next_step="Give the name of a file with --out.")
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    try:
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be written: {error.strerror}.", next_step="Give another file with --out."
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
