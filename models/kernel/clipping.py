"""Short forms of texts from elsewhere, which may be of any length, for messages."""

from __future__ import annotations

import re

# Characters. Names and digests of SHA-256 stay whole, and so do almost all paths.
_MOST = 80
_LONG_WORD = re.compile(r"[^\s,'\"]{301,}")


def clipped(text: str, most: int = _MOST) -> str:
    """Return the text, or its beginning and its length if it has more than `most` characters."""
    return text if len(text) <= most else f"{text[:most]}… ({len(text):,} characters)"


def without_long_words(message: str) -> str:
    """Return a message in which each word of more than 300 characters is clipped."""
    return _LONG_WORD.sub(lambda word: clipped(word[0]), message)
