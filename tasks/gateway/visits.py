"""What the gateway remembers of silos' requests: each request's nonce, and when a silo was last there."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from threading import Lock

from sqlalchemy import Column, Engine, Float, String, Table, Text, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

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

    def enter(self, key_id: str, nonce: str, until: float, seen: SeenSilo) -> bool:
        """Note a request, and return whether it is new: its key has not used its nonce before.

        Args:
            key_id: the key that signed it.
            nonce: its nonce.
            until: Unix time after which it is refused for its age, and its nonce can be forgotten.
            seen: the silo. An empty `did` keeps what it did before.
        """
        values = {
            "seen_at": seen.seen_at,
            "clock_offset_s": seen.clock_offset_s,
            "version": seen.version,
            **({"did": seen.did} if seen.did else {}),
        }
        with self._writing:
            try:
                with self._engine.begin() as connection:
                    connection.execute(insert(_NONCES).values(key_id=key_id, nonce=nonce, until=until))
                    known = connection.execute(
                        update(_SILOS).where(_SILOS.c.silo == seen.silo).values(**values)
                    )
                    if time.monotonic() > self._forget_at:
                        self._forget_at = time.monotonic() + _FORGET_S
                        connection.execute(delete(_NONCES).where(_NONCES.c.until < time.time()))
            except IntegrityError:
                return False
            if not known.rowcount:
                # Another process may insert the silo's first visit at the same time.
                with contextlib.suppress(IntegrityError), self._engine.begin() as connection:
                    connection.execute(insert(_SILOS).values(silo=seen.silo, **values))
        return True

    def note(self, silo: str, did: str) -> None:
        """Note what a silo did last."""
        with self._writing, self._engine.begin() as connection:
            connection.execute(update(_SILOS).where(_SILOS.c.silo == silo).values(did=did))

    def all(self) -> dict[str, SeenSilo]:
        """Return each silo that was seen, by name."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(_SILOS).order_by(_SILOS.c.silo))
            return {row.silo: SeenSilo(**row._mapping) for row in rows}
