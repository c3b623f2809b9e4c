"""What the gateway remembers of silos' requests: each request's nonce, and when a silo was last there."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import (
    Column,
    Engine,
    Float,
    String,
    Table,
    Text,
    bindparam,
    delete,
    select,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from tasks.gateway.database import TABLES

_NONCES = Table(
    "nonces",
    TABLES,
    Column("key_id", String(64), primary_key=True),
    Column("nonce", String(64), primary_key=True),
    Column("until", Float, index=True, nullable=False),
)
# Seconds between two deletions of old nonces.
_FORGET_S = 60.0
_SILOS = Table(
    "silos",
    TABLES,
    Column("silo", String(128), primary_key=True),
    Column("seen_at", Float, nullable=False),
    Column("clock_offset_s", Float, nullable=False),
    Column("version", String(64)),
    Column("did", Text),
)


@dataclass(frozen=True)
class SeenSilo:
    """What the gateway knows of a silo.

    Attributes:
        silo: its name.
        seen_at: Unix time of its last request.
        clock_offset_s: seconds by which its clock is ahead of the gateway's.
        version: of its fedrec.
        did: its last action, for people.
    """

    silo: str
    seen_at: float
    clock_offset_s: float
    version: str | None
    did: str | None


@dataclass(frozen=True)
class Visit:
    """A request of a silo.

    Attributes:
        key_id: the key that signed it.
        nonce: its nonce.
        until: Unix time after which it is refused for its age, and its nonce can be forgotten.
        seen: the silo. What it did is noted later.
    """

    key_id: str
    nonce: str
    until: float
    seen: SeenSilo


class Visits:
    """The visits of silos, in one database.

    Args:
        engine: of `tasks.gateway.database.open_database`. It need not be durable.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._forget_at = 0.0
        # Threads that wait for SQLite's own lock sleep for up to a tenth of a second.
        self._writing = Lock()
        insert = postgresql.insert if engine.dialect.name == "postgresql" else sqlite.insert
        # Built once: to build a statement takes longer than to execute it.
        self._insert_nonces = (
            insert(_NONCES).on_conflict_do_nothing().returning(_NONCES.c.key_id, _NONCES.c.nonce)
        )
        seen = insert(_SILOS)
        names = ("seen_at", "clock_offset_s", "version")
        self._see = seen.on_conflict_do_update(
            index_elements=["silo"], set_={name: seen.excluded[name] for name in names}
        )
        self._did = update(_SILOS).where(_SILOS.c.silo == bindparam("known")).values(did=bindparam("now"))

    def enter(self, visits: Collection[Visit]) -> list[bool]:
        """Note requests in one transaction, and return for each whether it is new.

        It is new if its key has not used its nonce before, neither for another one of these requests.
        """
        nonces = {(each.key_id, each.nonce): each.until for each in visits}
        # Sorted, so that two processes do not wait for each other.
        rows = [{"key_id": key, "nonce": nonce, "until": nonces[key, nonce]} for key, nonce in sorted(nonces)]
        with self._writing, self._engine.begin() as connection:
            left = {(row.key_id, row.nonce) for row in connection.execute(self._insert_nonces, rows)}
            is_new = [_taken(left, (each.key_id, each.nonce)) for each in visits]
            seen = {each.seen.silo: each.seen for each, new in zip(visits, is_new, strict=True) if new}
            if seen:
                connection.execute(self._see, [vars(seen[silo]) for silo in sorted(seen)])
            if time.monotonic() > self._forget_at:
                self._forget_at = time.monotonic() + _FORGET_S
                connection.execute(delete(_NONCES).where(_NONCES.c.until < time.time()))
        return is_new

    def note(self, did: Mapping[str, str]) -> None:
        """Note what silos did last, by name."""
        rows = [{"known": silo, "now": did[silo]} for silo in sorted(did)]
        with self._writing, self._engine.begin() as connection:
            connection.execute(self._did, rows)

    def all(self) -> dict[str, SeenSilo]:
        """Return each silo that was seen, by name."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_SILOS).order_by(_SILOS.c.silo))
            return {row.silo: SeenSilo(**row._mapping) for row in rows}


def _taken(left: set[tuple[str, str]], nonce: tuple[str, str]) -> bool:
    """Take a nonce out of those that are left, and return whether it was there."""
    if nonce not in left:
        return False
    left.remove(nonce)
    return True
