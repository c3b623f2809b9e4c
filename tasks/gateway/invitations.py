"""Invitations: each lets one silo enrol its key once, until it expires."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, Engine, Float, String, Table, Update, insert, select, update

from models.errors import InvalidInput
from tasks.gateway.database import TABLES

_TOKEN_BYTES = 32
_INVITATIONS = Table(
    "invitations",
    TABLES,
    Column("token_sha256", String(64), primary_key=True),
    Column("silo", String(128), nullable=False),
    Column("made_at", Float, nullable=False),
    Column("until", Float, nullable=False),
    Column("used_at", Float),
    Column("key_id", String(64)),
)


@dataclass(frozen=True)
class Invitation:
    """What a silo's owner needs to join, as one file. Whoever has it can join as this silo, once.

    Attributes:
        silo: name of the silo.
        url: address of the gateway.
        coordinator: fingerprint of the coordinator's key.
        token: secret that is used up by joining.
        until: Unix time at which it expires.
        ca: certificates in PEM form that the gateway's must follow from; None for those of the system.
    """

    silo: str
    url: str
    coordinator: str
    token: str
    until: float
    ca: str | None = None

    def to_json(self) -> bytes:
        """Return the file's content."""
        return json.dumps({"format": "fedrec.invitation/1", **asdict(self)}, indent=1).encode() + b"\n"

    @classmethod
    def of_json(cls, data: bytes) -> Invitation:
        """Return the invitation that `to_json` wrote.

        Raises:
            InvalidInput: the data are none.
        """
        try:
            found: Mapping[str, Any] = json.loads(data)
            given = {name: value for name, value in found.items() if name != "format"}
            made = cls(**given)
            types = {name: type(value) for name, value in asdict(made).items() if name not in ("ca", "until")}
            if found.get("format") != "fedrec.invitation/1" or set(types.values()) != {str}:
                raise ValueError("it has another format")
            if not isinstance(made.ca, str | None):
                raise ValueError("its certificates are not text")
        except (ValueError, TypeError, AttributeError, RecursionError) as error:
            raise InvalidInput(
                f"The file is not an invitation: {error}.",
                next_step="Ask the coordinator for one: fedrec invite NAME --url URL --out FILE.",
            ) from error
        return made


class Invitations:
    """The invitations of one gateway. Their tokens are kept as SHA-256 only.

    Args:
        engine: of `tasks.gateway.database.open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def make(self, silo: str, until: float) -> str:
        """Make an invitation, and return its token. Earlier ones of the silo count no more."""
        token = secrets.token_urlsafe(_TOKEN_BYTES)
        row = {"token_sha256": _sha256(token), "silo": silo, "until": until, "made_at": time.time()}
        with self._engine.begin() as connection:
            connection.execute(_withdrawal(silo))
            connection.execute(insert(_INVITATIONS).values(**row))
        return token

    def use(self, silo: str, token: str, key_id: str, *, made_after: float = 0.0) -> bool:
        """Use an invitation up for a key, and return whether it was valid. Of several keys, one gets it.

        The same key may use it again, because the answer to the first time may have been lost. Others of the
        silo count no more.

        Args:
            silo: the silo.
            token: of the invitation.
            key_id: the key that is enrolled.
            made_after: Unix time; an earlier invitation is not valid, as the silo was removed since.
        """
        mine = (_INVITATIONS.c.token_sha256 == _sha256(token)) & (_INVITATIONS.c.silo == silo)
        with self._engine.begin() as connection:
            connection.execute(
                update(_INVITATIONS)
                .where(
                    mine,
                    _INVITATIONS.c.used_at.is_(None),
                    _INVITATIONS.c.until >= time.time(),
                    _INVITATIONS.c.made_at >= made_after,
                )
                .values(used_at=time.time(), key_id=key_id)
            )
            found = connection.execute(select(_INVITATIONS.c.key_id).where(mine)).one_or_none()
            is_valid = found is not None and found.key_id == key_id
            if is_valid:
                connection.execute(_withdrawal(silo))
        return is_valid

    def open(self) -> list[tuple[str, float]]:
        """Return (silo, Unix time at which it expires) of each invitation that can be used."""
        query = (
            select(_INVITATIONS.c.silo, _INVITATIONS.c.until)
            .where(_INVITATIONS.c.used_at.is_(None), _INVITATIONS.c.until >= time.time())
            .order_by(_INVITATIONS.c.silo)
        )
        with self._engine.connect() as connection:
            return [(row.silo, row.until) for row in connection.execute(query)]


def _withdrawal(silo: str) -> Update:
    """Return the statement that ends a silo's unused invitations."""
    return (
        update(_INVITATIONS)
        .where(_INVITATIONS.c.silo == silo, _INVITATIONS.c.used_at.is_(None))
        .values(until=0.0)
    )


def _sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
