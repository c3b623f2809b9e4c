"""The one text of JSON values that is hashed, signed or used as context."""

from __future__ import annotations

import hashlib
import json


def canonical(value: object) -> bytes:
    """Return JSON in ASCII with sorted keys and no spaces, hence without a line break."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def digest(value: object) -> str:
    """Return the hexadecimal SHA-256 of the canonical text of JSON values."""
    return hashlib.sha256(canonical(value)).hexdigest()
