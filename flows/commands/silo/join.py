"""`fedrec silo join`: enrols the silo's key with an invitation."""

from __future__ import annotations

from typing import BinaryIO

import click

from flows.terminal.output import emit, json_option


@click.command("join")
@click.argument("file", type=click.File("rb"))
@click.option("--yes", is_flag=True, help="Do not ask whether the fingerprint is right.")
@json_option
def command(file: BinaryIO, yes: bool, as_json: bool) -> None:
    """Join a federation: make a key pair if there is none, and enrol it with the invitation in FILE.

    Compare the fingerprint that is shown with the one that the coordinator told you over another channel.
    """
    from models.errors import InvalidInput, NotFound
    from tasks.gateway.invitations import Invitation
    from tasks.local.home import current_home
    from tasks.silos.gateway_client import GatewayClient
    from tasks.silos.joined import Joined
    from tasks.silos.keys import load_key, make_key

    invitation, home = Invitation.of_json(file.read()), current_home()
    click.echo(f"Gateway:     {invitation.url}", err=True)
    click.echo(f"Coordinator: {invitation.coordinator}", err=True)
    if not yes:
        click.echo("Compare all 64 characters with those that you were told over another channel.", err=True)
        if not click.confirm("Are they the same?", err=True):
            raise InvalidInput(
                "Not joined: nothing was sent.",
                next_step="Ask the coordinator which fingerprint is right, and do not use this invitation.",
            )
    home.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        key = load_key(home)
    except NotFound:
        key = make_key(home)
    joined = Joined(invitation.url, invitation.coordinator, invitation.ca)
    client = GatewayClient(joined.address(), key)
    client.enrol(invitation.silo, invitation.token)
    joined.keep(home)
    result = {"silo": invitation.silo, "key_id": key.key_id, "gateway": invitation.url}

    def show() -> None:
        click.echo(f"Silo {invitation.silo} has joined with key {key.key_id}. Delete {file.name} now.")
        settings = home.root / "silo.yaml"
        first = "" if settings.exists() else f"write {settings} with name, source and policy, then "
        click.echo(f"Next: {first}run:\n")
        click.echo("  fedrec silo doctor\n  fedrec silo start")

    emit(result, as_json=as_json, show=show)
