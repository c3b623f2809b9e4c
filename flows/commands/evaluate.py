"""`fedrec evaluate`: evaluates a registered version on held-out interactions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.commands.promotion.promote import model_option, model_version_option
from flows.terminal.output import emit, json_option
from flows.terminal.table_options import part_option
from models.errors import InvalidInput

if TYPE_CHECKING:
    from flows.settings.training_config import TrainingConfig
    from tasks.local.home import Home


@click.command("evaluate")
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    help="A configuration that names data and model, instead of the one stored with the version.",
)
@model_version_option
@part_option
@click.option(
    "--users-share",
    type=click.FloatRange(0, 1, min_open=True),
    help="Share of the users who are evaluated.  [default: evaluation.users_share of the configuration]",
)
@model_option
@json_option
def command(
    config_file: Path | None,
    version: str,
    part: Any,
    users_share: float | None,
    model_name: str | None,
    as_json: bool,
) -> None:
    """Evaluate a registered version by leave-one-out, with a 95 % interval for every metric.

    Users are folded in from their training histories, as in serving. The job's own figures stand beside it.
    They differ if the job scored users by the vectors that it trained with the items, which only the clients
    have, or if its figures have noise. Those here have none, and no privacy account is charged: show them
    only to those who may see the data. A version that was trained on other data is refused, because it may
    have been trained on interactions that are held out here. The version's own evaluation.seed is used, and
    cases that an earlier training of its lineage saw do not count.
    """
    from flows.settings.training_config import load_config
    from tasks.bench.quality.evaluate_version import evaluate_version
    from tasks.local import environment
    from tasks.promotion.served import chosen

    home = environment.apply()
    given = None if config_file is None else load_config(config_file)
    name, number = chosen(home, model_name or (given.model_name if given else None), version)
    config = given or _stored(home, name, number)
    if config.data.dir is None:
        raise InvalidInput(
            "The data of this version are with its silos, so they cannot be evaluated here.",
            next_step="The job's report and MLflow have the figures that the silos sent.",
        )
    result = evaluate_version(
        home,
        config.data.dir,
        name,
        number,
        part,
        seed=config.evaluation.seed,
        negatives=config.evaluation.negatives,
        users_share=users_share or config.evaluation.users_share,
    )
    emit(result, as_json=as_json, show=lambda: _show(result))


def _stored(home: Home, name: str, version: str) -> TrainingConfig:
    """Return the configuration that the version was trained with."""
    from flows.settings.training_config import parse_config
    from tasks.tracking import registry

    client = registry.open_registry(home)
    return parse_config(registry.load_config_of(client, name, version), f"The configuration of {name!r}")


def _show(result: Mapping[str, Any]) -> None:
    click.echo(
        f"{result['model_name']} version {result['version']}, {result['protocol']}, {result['part']}, "
        f"{result['clients']} clients, {result['users']} users"
    )
    if result["seed"] != result["given_seed"]:
        click.echo(
            f"Its own evaluation.seed, {result['seed']}, is used instead of the configuration's, "
            f"{result['given_seed']}, because the seed decides what is held out."
        )
    if result["left_out"]:
        click.echo(
            f"{result['left_out']} of {result['left_out'] + result['users']} cases do not count, because "
            "earlier trainings of the model saw them or may have."
        )
    click.echo("Users are folded in from their training histories, as in serving.")
    job = result["job"] or {"user_vectors": None, "metrics": {}}
    for name, found in result["metrics"].items():
        own = f"  job: {job['metrics'][name]:.4f}" if name in job["metrics"] else ""
        click.echo(f"{name:14} {found['value']:.4f}  ({found['low']:.4f} to {found['high']:.4f}){own}")
    if result["job_has_noise"]:
        click.echo(
            "The job's figures have noise, which keeps its promise of privacy. Those here have none and were "
            "charged to no account, so show them only to those who may see the data."
        )
    if job["user_vectors"] == "trained":
        click.echo(
            "The job scored users by the vectors that it trained with the items, which only their clients "
            "have, so its figures differ."
        )
