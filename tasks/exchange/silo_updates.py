"""The updates that a silo has in the exchange."""

from __future__ import annotations

from tasks.exchange.layout import silo_updates_folder
from tasks.exchange.store import Exchange

# An update of the round before the last may still be read, of a silo that was late.
_BEFORE = 2


def forget_earlier_updates(exchange: Exchange, silo: str, job_id: str, round_: int) -> None:
    """Remove the silo's updates of the rounds before this one. They were merged or refused by now."""
    for earlier in range(max(1, round_ - _BEFORE), round_):
        exchange.remove(silo_updates_folder(silo, job_id, earlier))
