"""`fedrec invite`: writes the file with which a silo joins."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from flows.commands.gateway.orders_option import orders_option
from flows.terminal.number_option import number_option
from flows.terminal.output import emit, json_option

_DAY_S = 86_400


@click.command("invite")
@click.argument("name")
@click.option("--url", required=True, metavar="URL", help="Address of the gateway, as the silo reaches it.")
@click.option("--out", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")
@click.option(
    "--ca",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="PEM file of the certificates to trust.  [default: the one of --self-signed, if there is one]",
)
@number_option("--days", click.IntRange(min=1), 7, "Days until it expires.")
@orders_option
@json_option
def command(
    name: str, url: str, out: Path, ca: Path | None, days: int, orders: str | None, as_json: bool
) -> None:
    """Write an invitation for the silo NAME: with this file it enrols its key, once.

    Send the file over a channel that only the silo's owner reads. The silo runs fedrec silo join FILE.
    """
    from urllib.parse import urlsplit

    from tasks.coordinator.trust_store import require_silo_name
    from tasks.gateway.database import open_database
    from tasks.gateway.invitations import Invitation, Invitations
    from tasks.gateway.own_key import own_key
    from tasks.local.home import current_home
    from tasks.silos.keys import fingerprint

    require_silo_name(name)
    home, until = current_home(), time.time() + days * _DAY_S
    own = home.root / "gateway" / "tls" / f"{urlsplit(url).hostname}.crt"
    trusted = ca or (own if own.exists() else None)
    invitation = Invitation(
        silo=name,
        url=url.rstrip("/"),
        coordinator=fingerprint(own_key(home).public),
        token=Invitations(open_database(home, orders)).make(name, until),
        until=until,
        ca=trusted.read_text() if trusted else None,
    )
    # Whoever has the file can join as this silo.
    with open(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123
        file.write(invitation.to_json())
    expires = datetime.fromtimestamp(until, UTC).isoformat(timespec="minutes")
    result = {"silo": name, "file": str(out), "expires": expires, "coordinator": invitation.coordinator}

    def show() -> None:
        click.echo(f"{out} lets silo {name} join once, until {expires}. The silo's owner runs:\n")
        click.echo(f"  fedrec silo join {out.name}\n")
        click.echo(f"Tell the owner this fingerprint over another channel: {invitation.coordinator}")

    emit(result, as_json=as_json, show=show)
