"""Names of flow runs: they tell jobs apart, and a name that a person typed stays."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from coolname.data import config
from prefect.runtime import flow_run

# The words of which Prefect draws the name of a run that got none.
_LISTS: Mapping[str, Any] = config
_DRAWN = frozenset(word for each in _LISTS.values() for word in each.get("words", ()))
_DRAWN_WORDS = 2


def run_name(name: str, subject: str) -> str:
    """Return the name of a run about `subject`.

    Args:
        name: the present name; drawn by Prefect (like `brave-lion`), or typed by a person, who keeps it.
        subject: what the run is about, such as the job's name.
    """
    words = name.split("-")
    is_drawn = len(words) == _DRAWN_WORDS and _DRAWN.issuperset(words)
    return f"{subject}-{name}" if is_drawn else name


def named_after(subject: Callable[[Mapping[str, Any]], str]) -> Callable[[], str]:
    """Return the `flow_run_name` of a flow whose runs are about `subject`, computed from their parameters."""
    return lambda: run_name(str(flow_run.name), subject(flow_run.parameters))
