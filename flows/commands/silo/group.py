"""`fedrec silo`: the commands of a silo's owner."""

from __future__ import annotations

import click

from flows.terminal.lazy_group import LazyGroup

# Name -> (module, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "enrol": ("flows.commands.silo.enrol", "Make the key pair with which this silo signs its answers."),
    "start": ("flows.commands.silo.start", "Run this silo's steps on its data until stopped."),
    "serve": ("flows.commands.silo.serve", "Serve this silo's users from their own embeddings, over HTTP."),
    "egress": ("flows.commands.silo.egress", "Show what left this silo, and what was refused."),
}


@click.group("silo", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Run a silo. Its owner uses these commands where the silo's data are.

    Keys, settings and ledger of a silo are below FEDREC_HOME, like all other state.
    """
