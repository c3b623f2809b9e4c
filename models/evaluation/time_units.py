"""Recognises timestamps that are no seconds since 1970, by their size and digits."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.integer]
TimesLike = Literal[
    "years", "months", "dates", "hours of dates", "minutes of dates", "days", "Excel days", "hours", "minutes"
]

# From 1990 to 2099. Days since 1970 end in 2059, where those of Excel begin (with 1990).
_COUNTS: dict[TimesLike, tuple[int, int]] = {
    "days": (7_305, 32_871),
    "Excel days": (32_874, 73_050),
    "hours": (175_320, 1_139_567),
    "minutes": (10_519_200, 68_374_079),
}
_DIGITS: dict[TimesLike, int] = {
    "years": 4,
    "months": 6,
    "dates": 8,
    "hours of dates": 10,
    "minutes of dates": 12,
}
_YEARS = {"hours of dates": (1990, 2099)}
_ANY_YEAR = (1900, 2100)
_LIMITS = ((1, 12), (1, 31), (0, 23), (0, 59))


def times_like(timestamps: Ints) -> TimesLike | None:
    """Return what every one of the timestamps (n,), at least one, looks like; None if they may be seconds.

    Numbers such as 20240131 come before counts, because few counts have a month and a day as last digits.
    """
    for kind, digits in _DIGITS.items():
        if _are_dates(timestamps, digits, *_YEARS.get(kind, _ANY_YEAR)):
            return kind
    for kind, (least, greatest) in _COUNTS.items():
        if bool(((timestamps >= least) & (timestamps <= greatest)).all()):
            return kind
    return None


def _are_dates(timestamps: Ints, digits: int, first_year: int, last_year: int) -> bool:
    """Return whether all are a year and, by the number of digits, pairs for month, day, hour and minute."""
    pairs = digits // 2 - 2
    if timestamps.min() // 100**pairs < first_year or timestamps.max() // 100**pairs > last_year:
        return False
    right = np.ones(len(timestamps), dtype=np.bool_)
    for place, (least, greatest) in enumerate(_LIMITS[:pairs], start=1):
        pair = timestamps // 100 ** (pairs - place) % 100
        right &= (pair >= least) & (pair <= greatest)
    return bool(right.all())
