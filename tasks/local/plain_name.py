"""The rule for names of files that another party gives: none leads out of its folder, and none is hidden."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def is_plain_name(name: str) -> bool:
    """Return whether a name has only letters, digits, `_`, `.` and `-`, and begins with no `.` or `-`."""
    return _PLAIN.fullmatch(name) is not None
