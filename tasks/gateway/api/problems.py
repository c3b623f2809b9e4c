"""The problems that several of the gateway's endpoints have."""

from __future__ import annotations

from tasks.web.problem import Problem


def no_such(what: str) -> Problem:
    """Return a 404. Another silo's orders and objects are as unknown as those that do not exist."""
    return Problem(404, "not-found", f"There is no such {what} for this silo.")


def busy() -> Problem:
    """Return a 503: the database is away, or too slow."""
    return Problem(503, "busy", "The gateway cannot reach its database. Try again.", {"retry-after": "2"})
