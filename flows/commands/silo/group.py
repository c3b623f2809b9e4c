"""`fedrec silo`: what the owner of a silo runs, beside its data."""

from __future__ import annotations

import click

from flows.terminal.lazy_group import LazyGroup

# Name -> (module, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "enrol": ("flows.commands.silo.enrol", "Make the key pair that this silo signs its answers with."),
    "start": ("flows.commands.silo.start", "Serve this silo's steps, beside its data, until stopped."),
    "serve": ("flows.commands.silo.serve", "Answer this silo's users from their own embeddings, over HTTP."),
    "egress": ("flows.commands.silo.egress", "Show what left this silo, and what was refused."),
}


@click.group("silo", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Take part in a federation: run beside a silo's own data, by its owner.

    Keys, settings and ledger of a silo lie below FEDREC_HOME, as everything else does.
    """
