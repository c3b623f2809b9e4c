"""`fedrec silos`: lists the silos of the gateway."""

from __future__ import annotations

import math
import time
from datetime import UTC, datetime
from typing import Any

import click

from flows.commands.gateway.orders_option import orders_option
from flows.terminal.output import emit, json_option


@click.command("silos")
@orders_option
@json_option
def command(orders: str | None, as_json: bool) -> None:
    """Show the silos that the coordinator trusts: when each was last at the gateway, and what it did."""
    from tasks.coordinator.trust_store import TrustStore
    from tasks.gateway.database import open_database
    from tasks.gateway.invitations import Invitations
    from tasks.gateway.visits import Visits
    from tasks.local.home import current_home
    from tasks.silos.keys import key_id

    home = current_home()
    engine = open_database(home, orders)
    trust, visits = TrustStore(home), Visits(engine).all()
    silos = [
        {
            "silo": name,
            "key_id": key_id(public),
            "last_seen": None if name not in visits else _time(visits[name].seen_at),
            "seconds_ago": None if name not in visits else _rounded(time.time() - visits[name].seen_at),
            "clock_offset_s": None if name not in visits else _rounded(visits[name].clock_offset_s),
            "version": None if name not in visits else visits[name].version,
            "did": None if name not in visits else visits[name].did,
        }
        for name, public in trust.keys().items()
    ]
    revoked = [{"silo": name, "key_id": old} for old, name in trust.revoked().items()]
    invited = [{"silo": name, "expires": _time(until)} for name, until in Invitations(engine).open()]
    result: dict[str, Any] = {"silos": silos, "revoked": revoked, "invited": invited}
    emit(result, as_json=as_json, show=lambda: _show(result))


def _time(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):  # of a broken clock, or of a database that was changed
        return "unknown"


def _rounded(seconds: float) -> float | None:
    return round(seconds, 1) if math.isfinite(seconds) else None


def _show(result: dict[str, Any]) -> None:
    from flows.terminal.table import Column, print_table

    if not result["silos"]:
        click.echo("No silo is trusted yet. Invite one with fedrec invite NAME --url URL --out FILE.")
    else:
        print_table(
            (
                Column("silo"),
                Column("key"),
                Column("last seen (UTC)"),
                Column("clock", is_number=True),
                Column("version"),
                Column("did last", wraps=True),
            ),
            [
                (
                    each["silo"],
                    each["key_id"],
                    (each["last_seen"] or "never")[:19].replace("T", " "),
                    "" if each["clock_offset_s"] is None else f"{each['clock_offset_s']:+.1f} s",
                    each["version"] or "",
                    each["did"] or "",
                )
                for each in result["silos"]
            ],
        )
    for each in result["invited"]:
        click.echo(f"Invited: {each['silo']}, until {each['expires'][:16].replace('T', ' ')}.")
    for each in result["revoked"]:
        click.echo(f"Revoked: key {each['key_id']} of {each['silo']}.")
