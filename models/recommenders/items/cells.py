"""A cell of an item catalogue as it is written, whatever its type."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from decimal import Decimal
from math import isinf
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd

from models.recommenders.items.list_texts import number_text

Labels = tuple[str, ...]
_LISTS = (list, tuple, np.ndarray, set, frozenset)
_BYTES = (bytes, bytearray, memoryview)
# From here on, not every whole number is a float.
EXACT_WHOLE = 2**53


class ColumnRefused(Exception):
    """A column that cannot be used as it is.

    Attributes:
        rule: what is wrong, as the end of a sentence about the column.
        position: the first cell that is wrong, or None if the whole column is.
    """

    def __init__(self, rule: str, position: int | None = None) -> None:
        super().__init__(rule)
        self.rule = rule
        self.position = position


def as_written(cell: Any, position: int) -> str | Labels | None:
    """Return a cell as text, a list as those of its entries, or None if it is missing.

    Numbers are written without a point if they are whole, truths as "true" or "false", dates as ISO 8601.
    Missing entries of a list are left out.

    Args:
        cell: a value as a table has it.
        position: of the cell, for errors.

    Raises:
        ColumnRefused: the cell holds bytes, a structure, a list of lists, or something else without a text.
    """
    if not isinstance(cell, _LISTS):
        return text_of(cell, position)
    for entry in cell:
        if isinstance(entry, _LISTS):
            raise ColumnRefused("holds lists of lists, which are neither numbers nor labels", position)
    return tuple(text for entry in cell if (text := text_of(entry, position)))


def text_of(cell: Any, position: int) -> str | None:
    """Return a cell as text without blanks at its ends, or None if it is missing.

    Raises:
        ColumnRefused: the cell holds a list, bytes, a structure, or something else without a text.
    """
    value = _plain(cell)
    text: str | None = None
    if isinstance(value, str):
        text = value.strip()
    elif pd.isna(value):
        text = None
    elif isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, int | UUID):
        text = str(value)
    elif isinstance(value, float | Decimal):
        text = _number_text(value)
    elif isinstance(value, np.datetime64):
        text = pd.Timestamp(value).isoformat()
    elif hasattr(value, "isoformat") and hasattr(value, "year"):
        text = str(value.isoformat())
    else:
        raise ColumnRefused(f"holds {_name_of(value)}, which are neither numbers nor text", position)
    # An accented letter has several forms that look the same.
    return unicodedata.normalize("NFC", text) if text else None


def distinct(labels: Iterable[str]) -> Labels:
    """Return the labels in their order, each once, without empty ones."""
    return tuple(dict.fromkeys(label for label in labels if label))


def _plain(cell: Any) -> Any:
    """Return a value of numpy as one of Python: a short float as the number that it is written as."""
    if isinstance(cell, np.floating):
        # 1.1 in 32 bits is 1.10000002384 in 64.
        return float(str(cell))
    return cell.item() if isinstance(cell, np.generic) and not isinstance(cell, np.datetime64) else cell


def _number_text(number: float | Decimal) -> str:
    # A great float may stand for several whole numbers, so it is not written like one of them.
    is_inexact = isinstance(number, float) and abs(number) >= EXACT_WHOLE
    return str(float(number)) if is_inexact or isinf(number) else number_text(number)


def _name_of(value: Any) -> str:
    if isinstance(value, _BYTES):
        return "bytes"
    if isinstance(value, _LISTS):
        return "lists"
    return "structures" if isinstance(value, dict) else f"values of type {type(value).__name__}"
