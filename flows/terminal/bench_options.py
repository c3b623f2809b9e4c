"""Options that several measurements of `fedrec bench` have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def data_option(text: str = "A partition with one client per silo.") -> Decorator:
    """Return the decorator that adds `--data`, a partition, as `data_dir`; `text` is its help."""
    return click.option(
        "--data",
        "data_dir",
        default="$FEDREC_HOME/data/ml-100k",
        show_default=True,
        metavar="DIR",
        help=text,
    )


def epsilon_option(text: str) -> Decorator:
    """Return the decorator that adds `--epsilon`, repeatable, as `epsilons`; `text` is its help."""
    return click.option(
        "--epsilon",
        "epsilons",
        type=click.FloatRange(min=0, min_open=True),
        multiple=True,
        default=(1.0, 2.0, 4.0, 8.0),
        show_default=True,
        help=text,
    )
