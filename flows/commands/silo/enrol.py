"""`fedrec silo enrol`."""

from __future__ import annotations

import click

from flows.terminal.output import emit, json_option


@click.command("enrol")
@click.option("--name", required=True, metavar="NAME", help="Name of this silo, which is its client id.")
@click.option("--force", is_flag=True, help="Make a new key pair; the old one is renamed and kept.")
@json_option
def command(name: str, force: bool, as_json: bool) -> None:
    """Make the key pair with which this silo signs its answers, and print the public key.

    The private key never leaves FEDREC_HOME/keys. The coordinator needs the public key.
    """
    from tasks.coordinator.trust_store import require_silo_name
    from tasks.local.home import current_home
    from tasks.silos.keys import fingerprint, make_key, public_pem

    require_silo_name(name)
    key = make_key(current_home(), force=force)
    pem = public_pem(key.public).decode()
    result = {
        "name": name,
        "key_id": key.key_id,
        "fingerprint": fingerprint(key.public),
        "public_key": pem,
        "public_key_file": str(key.public_file),
        "private_key_file": str(key.file),
    }

    def show() -> None:
        click.echo(f"Silo {name} has the key pair {key.key_id}:\n")
        click.echo(pem)
        click.echo(f"Give the coordinator the file {key.public_file}. The coordinator runs:\n")
        click.echo(f"  fedrec trust {name} public.pem --fingerprint {result['fingerprint']}\n")
        click.echo("Tell the fingerprint over another channel, such as the telephone.")

    emit(result, as_json=as_json, show=show)
