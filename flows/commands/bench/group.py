"""`fedrec bench`: measurements of fedrec."""

from __future__ import annotations

import click

from flows.terminal.lazy_group import LazyGroup

# Name -> (module, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "quality": (
        "flows.commands.bench.quality",
        "Compare every family, federated, pooled and alone, with baselines.",
    ),
    "serving": ("flows.commands.bench.serving", "Measure the serving process with wrk."),
    "cold-start": (
        "flows.commands.bench.cold_start",
        "Compare new items, new users and new silos with naive recommenders.",
    ),
    "leak": ("flows.commands.bench.leak", "Show how much a leak in published code raises the metrics."),
    "ratings": ("flows.commands.bench.ratings", "Measure predicted ratings: RMSE, MAE and accuracies."),
}


@click.group("bench", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Measure fedrec on this machine."""
