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
    from models.errors import NotFound
    from tasks.gateway.invitations import Invitation
    from tasks.local.home import current_home
    from tasks.silos.gateway_client import GatewayClient
    from tasks.silos.joined import Joined
    from tasks.silos.keys import load_key, make_key

    invitation, home = Invitation.of_json(file.read()), current_home()
    click.echo(f"Gateway:     {invitation.url}", err=True)
    click.echo(f"Coordinator: {invitation.coordinator}", err=True)
    if not yes:
        click.confirm("Is this the coordinator's fingerprint?", abort=True, err=True)
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
        click.echo(f"Silo {invitation.silo} has joined with key {key.key_id}.")
        click.echo(f"Next: write {home.root / 'silo.yaml'} with name, source and policy, then run:\n")
        click.echo("  fedrec silo doctor\n  fedrec silo start")

    emit(result, as_json=as_json, show=show)
