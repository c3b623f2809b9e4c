"""`fedrec deploy`: makes Prefect's deployments those that prefect.yaml declares, and shows the changes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flows.terminal.output import emit, json_option
from models.errors import FedrecError, InvalidConfig

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

    from flows.deployments.deployment_file import DeploymentFile
    from tasks.orchestration.deployments import Deployment

# Of the silos' steps. A silo that fails costs its update and not the job, so nobody is notified.
_SILO_FLOW = "silo-step"


@click.command("deploy")
@click.option("--dry-run", is_flag=True, help="Show what would change, without changing it.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path),
    help="File that declares the deployments. Default: the checkout's prefect.yaml.",
)
@click.option("--api-url", metavar="URL", help="Address of Prefect's API. Default: PREFECT_API_URL.")
@click.option("--adopt", is_flag=True, help="Take over existing deployments that have the same names.")
@click.option(
    "--notify",
    "switched_on",
    multiple=True,
    metavar="NAME",
    help="Switch on this notification of the file; repeatable.",
)
@json_option
def command(
    dry_run: bool,
    path: Path | None,
    api_url: str | None,
    adopt: bool,
    switched_on: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make Prefect's deployments those of prefect.yaml, and one for each trusted silo.

    Everything is checked before anything is changed. The command creates missing work pools, creates or
    updates deployments, removes those that are no longer in the file, and sets up an automation that sets
    runs to CRASHED when their process is gone, and the notifications that have an address. It does not change
    what fedrec did not make. Deploying again changes nothing.
    """
    from tasks.local import environment

    home = environment.apply()
    click.echo("Checking the deployments; this takes some seconds.", err=True)
    from flows.deployments.clock_changes import schedule_warnings
    from flows.deployments.deployment_file import read_deployment_file
    from flows.deployments.deployments import silo_deployment
    from tasks.coordinator.trust_store import TrustStore
    from tasks.orchestration.deployments import connected

    path = path or Path(__file__).resolve().parents[2] / "prefect.yaml"
    silos = sorted(TrustStore(home).keys())
    file = read_deployment_file(path, [silo_deployment(name) for name in silos])
    with connected(api_url, "deploy again") as client:
        outcome, shown = _deploy(client, file, switched_on, dry_run=dry_run, adopt=adopt)
    outcome["warnings"] = schedule_warnings(file.deployments)
    emit(outcome, as_json=as_json, show=lambda: click.echo("\n".join([*shown, *_next(file, api_url)])))
    for warning in outcome["warnings"]:
        click.echo(f"fedrec: {warning}", err=True)
    for each in outcome["failed"]:
        click.echo(f"fedrec: {each['deployment']}: {each['message']}", err=True)
    if outcome["failed"] and not dry_run:
        raise SystemExit(FedrecError.exit_code)


def _deploy(
    client: SyncPrefectClient,
    file: DeploymentFile,
    switched_on: Sequence[str],
    *,
    dry_run: bool,
    adopt: bool,
) -> tuple[dict[str, Any], list[str]]:
    """Make the changes unless `dry_run`; returns them as JSON values and as lines for people."""
    from flows.deployments.deployments import mark_of, marked, plan, refuse_foreign
    from flows.deployments.notification_plan import make_notification, plan_notifications
    from tasks.orchestration import automations
    from tasks.orchestration import deployments as prefect
    from tasks.orchestration.notifications import notification_name, notifications_of_others

    declared = [marked(each, file.project) for each in file.deployments]
    pools = prefect.read_pools(client)
    _check_job_variables(declared, pools, prefect.new_pool_variables())
    missing = sorted({each.work_pool for each in declared} - pools.keys())
    mark = mark_of(file.project)
    flows = {each.flow_name for each in file.deployments} - {_SILO_FLOW}
    notifications = plan_notifications(client, file.notifications, mark, flows, switched_on)
    planned = plan(declared, prefect.read_deployments(client), mark, adopt=adopt)
    crashes = automations.crash_detection(mark)
    known, same = automations.find_automation(client, crashes)
    changed = [] if same else [{"name": crashes.name, "change": "create" if known is None else "update"}]
    changed += [{"name": each.name, "change": each.change} for each in notifications if each.change]
    names = [notification_name(mark, each) for each in file.notifications]
    left = {each.name: each.id for each in notifications_of_others(client, mark, names)}
    changed += [{"name": name, "change": "remove"} for name in left]

    failed: list[tuple[str, Exception]] = [*refuse_foreign(planned.foreign)]
    if not dry_run:
        failed += _tried(missing, lambda name: prefect.create_pool(client, name))
        puts = {
            each.full_name: each for each in (*planned.create, *(one.deployment for one in planned.update))
        }
        failed += _tried(puts, lambda name: prefect.put_deployment(client, puts[name]))
        failed += _tried(planned.prune, lambda name: prefect.remove_deployment(client, planned.prune[name]))
        if not same:
            failed += _tried([crashes.name], lambda _: automations.put_automation(client, crashes))
        makes = {each.name: each for each in notifications if each.change}
        failed += _tried(makes, lambda name: make_notification(client, makes[name], mark, flows))
        failed += _tried(left, lambda name: client.delete_automation(left[name]))
    broken = {name for name, _ in failed}
    outcome = {
        "dry_run": dry_run,
        "created": [each.full_name for each in planned.create if each.full_name not in broken],
        "updated": [
            {
                "deployment": each.deployment.full_name,
                "differences": [
                    {"field": one.field, "before": one.before, "after": one.after} for one in each.differences
                ],
            }
            for each in planned.update
            if each.deployment.full_name not in broken
        ],
        "pruned": [name for name in planned.prune if name not in broken],
        "unchanged": list(planned.unchanged),
        "pools": [name for name in missing if name not in broken],
        "automations": [each for each in changed if each["name"] not in broken],
        "notifications": {each.notification.name: "on" if each.is_on else "off" for each in notifications},
        "failed": [
            {"deployment": name, "type": type(error).__name__, "message": prefect.reason_of(error)}
            for name, error in failed
        ],
    }
    return outcome, _lines(outcome)


def _check_job_variables(
    declared: Iterable[Deployment], pools: Mapping[str, tuple[str, ...]], default: tuple[str, ...]
) -> None:
    """Raise `InvalidConfig` if a pool does not accept a job variable, because Prefect would ignore it."""
    from difflib import get_close_matches

    for each in declared:
        known = pools.get(each.work_pool, default)
        for name in each.job_variables:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                raise InvalidConfig(
                    f"{each.full_name}: the work pool {each.work_pool} has no job variable {name!r}.",
                    next_step=f"Did you mean {near[0]}?" if near else f"It has: {', '.join(known)}.",
                    deployment=each.full_name,
                )


def _tried(names: Iterable[str], step: Callable[[str], object]) -> list[tuple[str, Exception]]:
    """Do the step for each name; returns the names for which it failed, with the errors."""
    failed: list[tuple[str, Exception]] = []
    for name in names:
        try:
            step(name)
        # An error of one deployment is reported at the end and does not stop the others.
        except Exception as error:  # noqa: BLE001
            failed.append((name, error))
    return failed


def _lines(outcome: Mapping[str, Any]) -> list[str]:
    would = "would be " if outcome["dry_run"] else ""
    lines = [f"{would}created    work pool {name}" for name in outcome["pools"]]
    lines += [f"{would}created    {name}" for name in outcome["created"]]
    for each in outcome["updated"]:
        lines.append(f"{would}updated    {each['deployment']}")
        for one in each["differences"]:
            values = "" if one["before"] is one["after"] is None else f": {one['before']} -> {one['after']}"
            lines.append(f"    {one['field']}{values}")
    lines += [f"{would}removed    {name}" for name in outcome["pruned"]]
    lines += [f"{would}{each['change']}d    automation {each['name']}" for each in outcome["automations"]]
    lines += [f"unchanged  {name}" for name in outcome["unchanged"]]
    lines += [f"{switch:<9}  notification {name}" for name, switch in outcome["notifications"].items()]
    off = [name for name, switch in outcome["notifications"].items() if switch == "off"]
    if off:
        lines.append(f"Switch notifications on with fedrec deploy --notify {off[0]}.")
    return lines


def _next(file: DeploymentFile, api_url: str | None) -> list[str]:
    """Return the commands that start a run of the first deployment."""
    first = file.deployments[0]
    address = f" --api-url {api_url}" if api_url else ""
    named = f"PREFECT_API_URL={api_url} " if api_url else ""
    return [
        "Next, where the data is:",
        f"  fedrec env > fedrec.env && {named}honcho run -e fedrec.env prefect worker start "
        f"--pool {first.work_pool}",
        f"  fedrec run {first.full_name}{address}",
    ]
