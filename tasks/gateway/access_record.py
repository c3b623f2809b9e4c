"""The record of who fetched and sent what through the gateway: a hash chain that only grows."""

from __future__ import annotations

from tasks.local.chained_file import ChainedFile
from tasks.local.home import Home


def access_record(home: Home) -> ChainedFile:
    """Return the record of the gateway of this home."""
    path = home.root / "gateway" / "access.jsonl"
    return ChainedFile(path, ledger="gateway's record", writer="process of the gateway")
