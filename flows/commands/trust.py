"""`fedrec trust`: the coordinator's store of the silos' public keys."""

from __future__ import annotations

from typing import BinaryIO

import click

from flows.terminal.output import emit, json_option


@click.command("trust")
@click.argument("name", required=False)
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--force", is_flag=True, help="Replace another key of this silo.")
@click.option("--fingerprint", metavar="HEX", help="Trust the key only if it has this fingerprint.")
@click.option("--remove", "to_remove", is_flag=True, help="Stop accepting answers of this silo.")
@click.option("--list", "to_list", is_flag=True, help="Show all trusted silos.")
@json_option
def command(
    name: str | None,
    file: BinaryIO | None,
    force: bool,
    fingerprint: str | None,
    to_remove: bool,
    to_list: bool,
    as_json: bool,
) -> None:
    """Trust the public key in FILE as that of the silo NAME. The coordinator runs this command.

    FILE is the public.pem that fedrec silo enrol made; - reads it from stdin. From then on only answers
    signed with this key are accepted as the silo's.
    """
    if to_list and not (name or file or to_remove or force or fingerprint):
        _list(as_json)
    elif name and to_remove and not (file or to_list or force or fingerprint):
        _remove(name, as_json)
    elif name and file and not (to_remove or to_list):
        _trust(name, file, fingerprint, force, as_json)
    else:
        raise click.UsageError("Give one of: NAME FILE [--fingerprint HEX] [--force], NAME --remove, --list.")


def _trust(name: str, file: BinaryIO, expected: str | None, force: bool, as_json: bool) -> None:
    from tasks.coordinator.trust_store import TrustStore
    from tasks.local.home import current_home
    from tasks.silos.keys import fingerprint, key_id, read_expected

    public = read_expected(file.read(), file.name, expected)
    found = fingerprint(public)
    replaced = TrustStore(current_home()).trust(name, public, force=force)
    result = {"name": name, "key_id": key_id(public), "fingerprint": found, "replaced": replaced}

    def show() -> None:
        click.echo(f"Silo {name} is trusted with key {result['key_id']}.")
        if replaced:
            click.echo(
                f"It replaces key {replaced}. Answers signed with the old key are refused from now on."
            )
        if expected is None:
            click.echo(f"Compare the fingerprint with the one at the silo, over another channel: {found}.")

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
    from tasks.silos.keys import fingerprint, key_id

    known = TrustStore(current_home()).keys()
    silos = [
        {"name": name, "key_id": key_id(public), "fingerprint": fingerprint(public)}
        for name, public in known.items()
    ]

    def show() -> None:
        if not known:
            click.echo("No silo is trusted yet; add one with fedrec trust NAME FILE.")
        for each in silos:
            click.echo(f"{each['fingerprint']}  {each['name']}")

    emit({"silos": silos}, as_json=as_json, show=show)
