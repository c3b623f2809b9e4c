"""Entries of a hash chain, made from bodies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from models.ledger import chain
from models.ledger.chain import Entry


def next_entry(entries: Sequence[Entry], body: Mapping[str, Any]) -> Entry:
    """Return the entry with this body that follows `entries`."""
    return chain.follow(entries[-1] if entries else None, body)
