"""Data Docs: the contracts' results of a whole job as a static site of Great Expectations."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from data_contracts.outcome import ContractOutcome


def build_data_docs(outcomes: Iterable[ContractOutcome], folder: Path) -> Path:
    """The site for these outcomes stands in `folder`, replacing an earlier one; returns its index.html."""
    raise NotImplementedError
