"""`fedrec tune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.terminal.output import emit, json_option

if TYPE_CHECKING:
    from flows.terminal.progress import Event

_file = click.Path(path_type=Path, dir_okay=False, exists=True)


@click.command("tune")
@click.option("--config", "path", required=True, type=_file, help="Training configuration to start from.")
@click.option(
    "--space",
    required=True,
    type=_file,
    help="YAML file of keys and ranges, such as configs/tuning.yaml.",
)
@click.option(
    "--trials", type=click.IntRange(min=1), default=40, show_default=True, help="Total number of trials."
)
@click.option(
    "--arm",
    type=click.Choice(["federated", "centralised"]),
    default="federated",
    show_default=True,
    help="Tune the federation, or LightFM on the pooled data to compare it with.",
)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a key of --config.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    path: Path,
    space: Path,
    trials: int,
    arm: Any,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Search the settings of a training job, on the validation cases and never on the test cases.

    Clients are simulated in this process and report only sums. Every trial is stored and tracked in MLflow.
    After an interruption the same command continues with the finished trials. A larger --trials adds more.
    """
    from flows.settings.training_config import load_config
    from flows.settings.tuning_config import load_tuning

    config, tuning = load_config(path, overrides), load_tuning(space)
    from tasks.local.environment import apply

    apply()
    from flows.local import start_server_early

    start_server_early(config)
    from flows.terminal.interrupts import EXIT_CODE, quiet_interrupts

    try:
        with quiet_interrupts():
            from flows.terminal.progress import listening
            from flows.tune import run_locally

            with listening(_tell):
                result = run_locally(config, tuning, arm, trials)
    except KeyboardInterrupt:
        click.echo(
            "fedrec: interrupted. The same command continues with the trials that are finished.", err=True
        )
        ctx.exit(EXIT_CODE)
    emit(result, as_json=as_json, show=lambda: _show(result))


def _tell(event: Event) -> None:
    click.echo(f"Trial {event.round}/{event.rounds}: {event.text}", err=True)


def _show(result: dict[str, Any]) -> None:
    best = result["best"]
    click.echo(f"Study {result['study']}: {len(result['trials'])} trials")
    if best is None:
        click.echo("No trial finished with an objective.")
        return
    click.echo(
        f"Best: trial {best['trial']}, objective {best['objective']:.4f}, after {best['epochs']} epochs"
    )
    if best["rounds"]:
        click.echo(f"  federation.rounds: {best['rounds']}")
    for key, value in sorted(best["values"].items()):
        click.echo(f"  {key}: {value}")
    for name, value in best["metrics"].items():
        click.echo(f"  validation {name} {value:.4f}")
