"""Documents with a table between two marks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path


def with_table_replaced(document: Path, begin: str, end: str, put: Callable[[Path], object]) -> str:
    """Return the text of a document whose table `put` has replaced. Assert that the rest is as it was."""
    document.write_text(f"before\n{begin}\nthe old table\n{end}\nafter\n")
    put(document)
    text = document.read_text()
    assert text.startswith(f"before\n{begin}\n")
    assert text.endswith(f"{end}\nafter\n")
    assert "the old table" not in text
    return text
