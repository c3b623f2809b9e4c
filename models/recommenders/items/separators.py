"""Judges whether a character separates labels in a column of text, or belongs to names such as "Smith, Sons".

In a column of lists, the parts of one text occur in other texts too: "Action, War", "Action", "War, Drama".
Of names, one end does not: each company has its own first part before ", Inc.".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

SEPARATORS = "|,"
# At least this share of the texts with the character must begin, and end, with a part of another text.
_SHARED = 0.5
# Fewer texts than this share no parts by chance. Then, and where most have three parts or more, it is enough
# that many texts have the character; fewer if it is a bar, which names hardly have, or an end is shared.
_FEW_TEXTS = 10
_MANY_PARTS = 3
_MANY, _MANY_IF_SHARED, _MANY_WITH_BARS = 1 / 2, 1 / 3, 1 / 10


def separates(character: str, texts: Collection[str]) -> bool:
    """Return whether texts are lists of labels with this character between them.

    Args:
        character: occurs in a text.
        texts: the distinct texts of a column, so that neither their order nor their frequency matters.
    """
    split = ([part.strip() for part in text.split(character) if part.strip()] for text in texts)
    listed = [parts for parts in split if parts]
    with_it = [parts for parts in listed if len(parts) > 1]
    frequencies = Counter(part for parts in listed for part in set(parts))
    shares = [_share(frequencies[parts[end]] > 1 for parts in with_it) for end in (0, -1)]
    if min(shares) >= _SHARED:
        return True
    are_lists = _share(len(parts) >= _MANY_PARTS for parts in with_it) >= _SHARED
    many = _MANY_WITH_BARS if character == "|" else _MANY_IF_SHARED if max(shares) > 0 else _MANY
    return (len(with_it) < _FEW_TEXTS or are_lists) and len(with_it) >= many * len(listed)


def _share(truths: Iterable[bool]) -> float:
    found = list(truths)
    return sum(found) / len(found) if found else 0.0
