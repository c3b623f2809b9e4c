"""Names of folders for things whose own names may have any characters."""

from __future__ import annotations

import hashlib
import re

_PLAIN = re.compile(r"[a-z0-9_][a-z0-9._-]{0,99}")
_OTHERS = re.compile(r"[^a-z0-9._-]+")
_READABLE = 60


def folder_name(name: str) -> str:
    """Return the name of a folder for this name: one path component, different for different names.

    A short name of lower-case ASCII letters, digits, "_", "-" and "." is kept. Any other gets a part of its
    SHA-256 behind a "~", because file systems may ignore case or limit the length of names.
    """
    if _PLAIN.fullmatch(name):
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{_OTHERS.sub('-', name.lower())[:_READABLE].strip('.-')}~{digest}"
