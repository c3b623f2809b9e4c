"""Which silos are members of the federation of which model, in the gateway's database.

A silo is a member once a job of the model names it. Members may fetch what is promoted.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection

from sqlalchemy import Column, Engine, String, Table, insert, select
from sqlalchemy.exc import IntegrityError

from tasks.gateway.database import TABLES

_MEMBERS = Table(
    "members",
    TABLES,
    Column("silo", String(128), primary_key=True),
    Column("model_name", String(256), primary_key=True),
)


class Members:
    """The members in one database.

    Args:
        engine: of `tasks.gateway.database.open_database`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def add(self, silos: Collection[str], model_name: str) -> None:
        """Make these silos members of the model's federation, unless they are."""
        query = select(_MEMBERS.c.silo).where(_MEMBERS.c.model_name == model_name)
        with self._engine.connect() as connection:
            known = set(connection.execute(query).scalars())
        for silo in sorted(set(silos) - known):
            # Another job may add it at the same time.
            with contextlib.suppress(IntegrityError), self._engine.begin() as connection:
                connection.execute(insert(_MEMBERS).values(silo=silo, model_name=model_name))

    def models_of(self, silo: str) -> list[str]:
        """Return the names of the models whose federations a silo belongs to, sorted."""
        query = select(_MEMBERS.c.model_name).where(_MEMBERS.c.silo == silo)
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())
