"""`fedrec evaluate`: evaluates a registered version on held-out interactions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from flows.commands.promotion.promote import model_option, model_version_option
from flows.terminal.output import emit, json_option
from flows.terminal.table_options import part_option


@click.command("evaluate")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    required=True,
    help="The configuration that the version was trained with; it names data and model.",
)
@model_version_option
@part_option
@model_option
@json_option
def command(config_file: Path, version: str, part: Any, model_name: str | None, as_json: bool) -> None:
    """Evaluate a registered version by leave-one-out, with a 95 % interval for every metric.

    Users are folded in from their training histories, as in serving. The job's own figures stand beside it.
    They differ if the job scored users by the vectors that it trained with the items, which only the clients
    have. A version that was trained on other data is refused, because it may have been trained on
    interactions that are held out here.
    """
    from flows.settings.training_config import load_config
    from tasks.bench.quality.evaluate_version import evaluate_version
    from tasks.local import environment

    config = load_config(config_file)
    home = environment.apply()
    result = evaluate_version(
        home,
        str(config.data.dir or ""),
        model_name or config.model_name,
        version,
        part,
        seed=config.evaluation.seed,
        negatives=config.evaluation.negatives,
    )
    emit(result, as_json=as_json, show=lambda: _show(result))


def _show(result: Mapping[str, Any]) -> None:
    click.echo(
        f"{result['model_name']} version {result['version']}, {result['protocol']}, {result['part']}, "
        f"{result['clients']} clients, {result['users']} users"
    )
    click.echo("Users are folded in from their training histories, as in serving.")
    job = result["job"] or {"user_vectors": None, "metrics": {}}
    for name, found in result["metrics"].items():
        own = f"  job: {job['metrics'][name]:.4f}" if name in job["metrics"] else ""
        click.echo(f"{name:14} {found['value']:.4f}  ({found['low']:.4f} to {found['high']:.4f}){own}")
    if job["user_vectors"] == "trained":
        click.echo(
            "The job scored users by the vectors that it trained with the items, which only their clients "
            "have, so its figures differ."
        )
