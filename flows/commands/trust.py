"""`fedrec trust`: the coordinator's store of the silos' public keys."""

from __future__ import annotations

from typing import BinaryIO

import click

from flows.terminal.output import emit, json_option


@click.command("trust")
@click.argument("name", required=False)
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--force", is_flag=True, help="Replace another key of this silo.")
@click.option("--remove", "to_remove", is_flag=True, help="Stop accepting answers of this silo.")
@click.option("--list", "to_list", is_flag=True, help="Show all trusted silos.")
@json_option
def command(
    name: str | None, file: BinaryIO | None, force: bool, to_remove: bool, to_list: bool, as_json: bool
) -> None:
    """Trust the public key in FILE as that of the silo NAME. The coordinator runs this command.

    FILE is the public.pem that fedrec silo enrol made; - reads it from stdin. From then on only answers
    signed with this key are accepted as the silo's.
    """
    if to_list and not (name or file or to_remove or force):
        _list(as_json)
    elif name and to_remove and not (file or to_list or force):
        _remove(name, as_json)
    elif name and file and not (to_remove or to_list):
        _trust(name, file, force, as_json)
    else:
        raise click.UsageError("Give one of: NAME FILE [--force], NAME --remove, --list.")


def _trust(name: str, file: BinaryIO, force: bool, as_json: bool) -> None:
    from tasks.coordinator.trust_store import TrustStore
    from tasks.local.home import current_home
    from tasks.silos.keys import key_id, read_public

    public = read_public(file.read(), file.name)
    replaced = TrustStore(current_home()).trust(name, public, force=force)
    result = {"name": name, "key_id": key_id(public), "replaced": replaced}

    def show() -> None:
        click.echo(f"Silo {name} is trusted with key {result['key_id']}.")
        if replaced:
            click.echo(
                f"It replaces key {replaced}. Answers signed with the old key are refused from now on."
            )
        click.echo("Compare the key id with the one that fedrec silo enrol printed at the silo.")

    emit(result, as_json=as_json, show=show)


def _remove(name: str, as_json: bool) -> None:
    from tasks.coordinator.trust_store import TrustStore
    from tasks.local.home import current_home

    removed = TrustStore(current_home()).remove(name)
    emit(
        {"name": name, "removed": removed},
        as_json=as_json,
        show=lambda: click.echo(f"Silo {name} is no longer trusted; its key was {removed}."),
    )


def _list(as_json: bool) -> None:
    from tasks.coordinator.trust_store import TrustStore
    from tasks.local.home import current_home
    from tasks.silos.keys import key_id

    known = {name: key_id(public) for name, public in TrustStore(current_home()).keys().items()}
    silos = [{"name": name, "key_id": id_} for name, id_ in known.items()]

    def show() -> None:
        if not known:
            click.echo("No silo is trusted yet; add one with fedrec trust NAME FILE.")
        for name, id_ in known.items():
            click.echo(f"{id_}  {name}")

    emit({"silos": silos}, as_json=as_json, show=show)
