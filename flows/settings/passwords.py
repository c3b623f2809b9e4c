"""Finds passwords in addresses, which belong in no settings file and on no command line."""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit

# Drivers also accept passwords as parameters of the URL, or inside a parameter, as in ODBC connection
# strings.
_SECRET = re.compile(r"(?:^|[?&;_-])(?:\w*password|\w*passwd|pwd|secret|token)\s*=", re.IGNORECASE)

ITS_PLACE = "PostgreSQL's belongs in ~/.pgpass, or in the file that PGPASSFILE names."


def holds_password(value: str) -> bool:
    """Return whether a text is a URL with a password."""
    scheme, separator, rest = value.partition("://")
    if not separator or not re.fullmatch(r"[\w+.-]+", scheme):
        return False
    if scheme == "file":
        return False
    # urlsplit alone fails at a bad port, and a password may contain a slash that was not escaped.
    user, at, _ = rest.rpartition("@")
    return (bool(at) and ":" in user) or bool(_SECRET.search(unquote(urlsplit(f"x://{rest}").query)))
