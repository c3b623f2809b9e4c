"""`fedrec silo roster`: the silos with which this one takes part in secure sums."""

from __future__ import annotations

from typing import BinaryIO

import click

from flows.terminal.output import emit, json_option


@click.command("roster")
@click.argument("name", required=False)
@click.argument("file", required=False, type=click.File("rb"))
@click.option("--force", is_flag=True, help="Replace another key of this member.")
@click.option("--fingerprint", metavar="HEX", help="Add the key only if it has this fingerprint.")
@click.option("--remove", "to_remove", is_flag=True, help="Take part in no more sums with this member.")
@json_option
def command(
    name: str | None,
    file: BinaryIO | None,
    force: bool,
    fingerprint: str | None,
    to_remove: bool,
    as_json: bool,
) -> None:
    """Add the public key in FILE as that of the silo NAME, or list all members.

    Get FILE from the owner of that silo, not from the coordinator: it is the public.pem that fedrec silo
    enrol made there; - reads it from stdin. A coordinator that chose the members could invent them, and read
    this silo's updates off the sums.
    """
    if name and file and not to_remove:
        _add(name, file, fingerprint, force, as_json)
    elif name and to_remove and not (file or force or fingerprint):
        _remove(name, as_json)
    elif name is None and not (to_remove or force or fingerprint):
        _list(as_json)
    else:
        raise click.UsageError("Give NAME FILE [--fingerprint HEX] [--force], NAME --remove, or nothing.")


def _add(name: str, file: BinaryIO, expected: str | None, force: bool, as_json: bool) -> None:
    from flows.silo.settings import default_settings_path, load_silo_settings
    from models.errors import InvalidInput
    from tasks.datasets.partition_reader import CLIENT_ID
    from tasks.local.home import current_home
    from tasks.silos.keys import fingerprint, key_id, read_expected
    from tasks.silos.roster import add_member

    if not CLIENT_ID.fullmatch(name):
        raise InvalidInput(f"{name!r} is no name of a silo.", next_step="Use its name in its silo.yaml.")
    if default_settings_path().exists() and name == load_silo_settings().name:
        raise InvalidInput(
            f"{name!r} is this silo itself, and the roster has the other silos only.",
            next_step="Give public.pem to their owners, and add what you got from each of them.",
        )
    public = read_expected(file.read(), file.name, expected)
    found = fingerprint(public)
    replaced = add_member(current_home(), name, public, force=force)
    result = {"name": name, "key_id": key_id(public), "fingerprint": found, "replaced": replaced}

    def show() -> None:
        click.echo(f"The roster has {name} with key {result['key_id']}.")
        if replaced:
            click.echo(f"It replaces key {replaced}.")
        if expected is None:
            click.echo(f"Compare the fingerprint with the owner's, over another channel: {found}.")

    emit(result, as_json=as_json, show=show)


def _remove(name: str, as_json: bool) -> None:
    from tasks.local.home import current_home
    from tasks.silos.roster import remove_member

    remove_member(current_home(), name)
    emit({"name": name}, as_json=as_json, show=lambda: click.echo(f"The roster no longer has {name}."))


def _list(as_json: bool) -> None:
    from tasks.local.home import current_home
    from tasks.silos.keys import fingerprint, key_id
    from tasks.silos.roster import read_roster

    members = [
        {"name": name, "key_id": key_id(public), "fingerprint": fingerprint(public)}
        for name, public in read_roster(current_home()).items()
    ]

    def show() -> None:
        for each in members:
            click.echo(f"{each['name']}  {each['key_id']}  {each['fingerprint']}")
        if not members:
            click.echo("The roster is empty. Add members with fedrec silo roster NAME FILE.")

    emit({"members": members}, as_json=as_json, show=show)
