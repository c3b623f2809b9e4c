"""`fedrec run`: starts a run of a deployment, with single values changed."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import click

from flows.terminal.output import emit, json_option
from models.errors import FedrecError, InvalidConfig, PromotionRefused

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import FlowRun

_POLL_S = 1.0


@click.command("run")
@click.argument("deployment", metavar="DEPLOYMENT")
@click.option(
    "--set",
    "overrides",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a value of the run, such as federation.rounds=2; repeatable.",
)
@click.option("--name", metavar="NAME", help="Name of the run. Default: the job's name and two words.")
@click.option("--wait", is_flag=True, help="Wait for the run's end, and end with an exit code for its state.")
@click.option("--api-url", metavar="URL", help="Address of Prefect's API. Default: PREFECT_API_URL.")
@json_option
@click.pass_context
def command(
    ctx: click.Context,
    deployment: str,
    overrides: tuple[str, ...],
    name: str | None,
    wait: bool,
    api_url: str | None,
    as_json: bool,
) -> None:
    """Start a run of a deployment, such as federated-training/ml-100k, and print its address.

    A worker of the deployment's pool runs it. What --set does not name is as the deployment has it. With
    --wait the exit code is 0 for a completed run, 4 for a refused promotion, and 1 for a run that crashed or
    was cancelled. A failed run has that of its label fedrec.exit_code, or 1 without one.
    """
    from flows.settings.overrides import check_overrides
    from tasks.local import environment

    check_overrides(overrides)
    environment.apply()
    from flows.deployments.run_parameters import find_deployment, run_parameters
    from tasks.orchestration.deployments import connected, read_deployments, reason_of

    with connected(api_url, "start the run again") as client:
        id_, found = find_deployment(read_deployments(client), deployment)
        parameters = run_parameters(found, overrides)
        try:
            run = client.create_flow_run_from_deployment(id_, parameters=parameters, name=name)
        except Exception as error:
            if getattr(getattr(error, "response", None), "status_code", None) not in (409, 422):
                raise
            raise InvalidConfig(f"Prefect refuses a run of {found.full_name}: {reason_of(error)}") from error
        outcome: dict[str, Any] = {
            "deployment": found.full_name,
            "flow_run_id": str(run.id),
            "name": run.name,
            "url": _url(run),
        }
        if not as_json:
            click.echo(f"Started a run of {found.full_name}: {outcome['url']}")
        _warn_without_worker(client, found.work_pool)
        if wait:
            ended = _wait(client, run)
            exit_code = _exit_code(client, ended)
            outcome |= {"name": ended.name, "state": ended.state.name, "message": ended.state.message}
    emit(outcome, as_json=as_json, show=lambda: _show_end(outcome))
    if wait:
        ctx.exit(exit_code)


def _wait(client: SyncPrefectClient, run: FlowRun) -> Any:
    """Return the run as it has ended, and say how it goes meanwhile."""
    from tasks.orchestration.retries import retry_while_away

    shown = None
    while True:
        current = retry_while_away(lambda: client.read_flow_run(run.id))
        state = current.state
        if state is not None and state.is_final():
            return current
        if state is not None and state.name != shown:
            shown = state.name
            click.echo(f"{current.name}: {shown}", err=True)
        time.sleep(_POLL_S)


def _exit_code(client: SyncPrefectClient, run: Any) -> int:
    from tasks.orchestration.exit_codes import exit_code_of

    if run.state.name == "Refused":
        return PromotionRefused.exit_code
    if run.state.is_failed():
        return exit_code_of(client, run.id)
    return 0 if run.state.is_completed() else FedrecError.exit_code


def _show_end(outcome: dict[str, Any]) -> None:
    if "state" in outcome:
        said = f": {outcome['message']}" if outcome["message"] else ""
        click.echo(f"{outcome['name']} ended as {outcome['state']}{said}")


def _url(run: FlowRun) -> str | None:
    from prefect.utilities.urls import url_for

    return url_for("flow-run", obj_id=run.id)


def _warn_without_worker(client: SyncPrefectClient, pool: str) -> None:
    from prefect.client.schemas.objects import WorkPoolStatus

    if pool and client.read_work_pool(pool).status == WorkPoolStatus.NOT_READY:
        click.echo(
            f"fedrec: No worker serves the pool {pool} yet. Start one where the data is: "
            f"prefect worker start --pool {pool}",
            err=True,
        )
