"""`fedrec privacy`: what jobs spent of privacy budgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from flows.terminal.output import emit, json_option
from models.errors import NotFound

if TYPE_CHECKING:
    from models.privacy.account import Account
    from models.privacy.statement import JobLine
    from tasks.local.home import Home


@click.group("privacy")
def command() -> None:
    """Show what jobs spent of privacy budgets, and count from zero again.

    An account stands for the people who may be in the data. Each job with privacy.unit reserves its epsilon
    of the account that its configuration names, and does not train if that would exceed the budget.
    """


@command.command("status")
@click.option("--account", "name", metavar="NAME", help="Only this account.")
@json_option
def status(name: str | None, as_json: bool) -> None:
    """Show what is spent and left of each account.

    It shows the epsilon by period, and that of each job with its versions.

    Epsilons do not simply add up: several jobs together cost less than the sum of theirs.
    """
    from tasks.local import environment
    from tasks.privacy.account_file import accounts, missing

    home = environment.apply()
    known = accounts(home)
    if name is not None and name not in known:
        raise missing(home, name)
    found = {"accounts": [_described(home, each) for each in (known if name is None else [name])]}
    emit(found, as_json=as_json, show=lambda: _show(found["accounts"]))


@command.command("reset")
@click.option("--account", "name", metavar="NAME", required=True, help="The account.")
@click.option(
    "--by", metavar="PERSON", required=True, help="The person who decides; recorded in the account."
)
@click.option("--reason", metavar="TEXT", required=True, help="The reason; recorded in the account.")
@json_option
def reset_command(name: str, by: str, reason: str, as_json: bool) -> None:
    """Let an account count from zero again. This cannot be undone, and its entries stay.

    It is right when the people in the data are other ones now. For the same people the promise of the models
    so far no longer holds together with that of the next ones.
    """
    from flows.commands.promotion.promote import clean
    from tasks.local.home import current_home
    from tasks.privacy.account_file import reset

    by, reason = clean(by), clean(reason)
    head = reset(current_home(), name, by=by, reason=reason)
    emit(
        {"account": name, "by": by, "reason": reason, "entry": head.count, "sha256": head.sha256},
        as_json=as_json,
        show=lambda: click.echo(
            f"The privacy account {name} counts from zero again, by {by}: {reason}. A job that is running "
            "counts once it is settled."
        ),
    )


def _described(home: Home, name: str) -> dict[str, Any]:
    from models.privacy.guarantee import MECHANISM
    from models.privacy.statement import budget_lines, job_lines
    from tasks.privacy.account_file import now, read_account

    account, head = read_account(home, name)
    jobs = job_lines(account)
    versions = _versions(home, jobs)
    return {
        "account": name,
        "mechanism": MECHANISM,
        "unit": sorted({each.unit for each in jobs}),
        "budgets": [asdict(each) for each in budget_lines(account, now())],
        "jobs": [asdict(each) | {"versions": versions.get(each.job_id, [])} for each in jobs],
        "resets": _resets(account),
        "entries": head.count,
        "head": head.sha256,
    }


def _versions(home: Home, jobs: Iterable[JobLine]) -> dict[str, list[int]]:
    """Return job id -> its registered versions, of the models of these jobs."""
    from tasks.promotion.versions import versions_by_job
    from tasks.tracking import registry

    try:
        client = registry.open_registry(home)
    except NotFound:  # no version was ever registered
        return {}
    found: dict[str, list[int]] = {}
    for name in sorted({each.model_name for each in jobs}):
        found |= versions_by_job(client, name)
    return found


def _resets(account: Account) -> list[dict[str, str]]:
    return [asdict(each) for each in account.resets]


def _show(accounts: list[dict[str, Any]]) -> None:
    if not accounts:
        click.echo("No job has reserved anything of a privacy account yet.")
    for each in accounts:
        click.echo(
            f"Account {each['account']}: noise by the {each['mechanism']}, neighbours differ by one "
            f"{' or '.join(each['unit'])}; {each['entries']} entries, head {each['head'][:12]}."
        )
        for budget in each["budgets"]:
            click.echo(f"  {_budget(budget)}")
        for reset in each["resets"]:
            click.echo(f"  Counted from zero again on {_day(reset)} by {reset['by']}: {reset['reason']}")
        _show_jobs(each["jobs"])


def _budget(budget: Mapping[str, Any]) -> str:
    when = "ever" if budget["period"] == "ever" else f"in the {budget['period']} {budget['current']}"
    return (
        f"Spent {when}: epsilon {budget['spent']:.4g} of {budget['budget']:g} for delta {budget['delta']:g}. "
        f"One more job may have {budget['left']:.4g}."
    )


def _show_jobs(jobs: list[dict[str, Any]]) -> None:
    from flows.terminal.table import Column, print_table
    from models.privacy.statement import budget_text

    columns = (
        Column("job"),
        Column("configuration", wraps=True),
        Column("model"),
        Column("versions", wraps=True),
        Column("epsilon", is_number=True),
        Column("delta", is_number=True),
        Column("budget"),
        Column("state", wraps=True),
        Column("since (UTC)"),
    )
    rows = [
        (
            job["job_id"],
            job["config_name"],
            job["model_name"],
            ", ".join(map(str, job["versions"])),
            f"{job['epsilon']:.4g}",
            f"{job['delta']:g}",
            budget_text(job["budget"], job["period"]),
            job["state"],
            job["at"][:16].replace("T", " "),
        )
        for job in jobs
    ]
    print_table(columns, rows)


def _day(reset: Mapping[str, str]) -> str:
    return reset["at"][:10]
