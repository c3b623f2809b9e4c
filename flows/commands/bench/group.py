"""`fedrec bench`: fedrec measured."""

from __future__ import annotations

import click

from flows.terminal.lazy_group import LazyGroup

# Name -> (module, one line of help).
COMMANDS: dict[str, tuple[str, str]] = {
    "quality": (
        "flows.commands.bench.quality",
        "Measure every family federated, pooled and alone, beside baselines.",
    ),
    "serving": ("flows.commands.bench.serving", "Measure the serving process with wrk."),
    "cold-start": (
        "flows.commands.bench.cold_start",
        "Measure new items, new users and new silos beside naive answers.",
    ),
    "leak": ("flows.commands.bench.leak", "Show how much a leak of the literature is worth."),
    "ratings": ("flows.commands.bench.ratings", "Predicted ratings: RMSE, MAE and accuracies by name."),
}


@click.group("bench", cls=LazyGroup, lazy=COMMANDS)
def command() -> None:
    """Measure fedrec on this machine."""
