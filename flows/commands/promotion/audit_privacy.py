"""What `fedrec audit` shows of privacy: what promoted versions promise, and what their accounts say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from models.errors import LedgerTampered

if TYPE_CHECKING:
    from tasks.local.home import Home

NOTHING: Mapping[str, Any] = {"versions": [], "accounts": []}


def privacy_of(home: Home, decisions: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return what promoted versions promise, and what their accounts spent when, as JSON values.

    Args:
        home: contains the accounts.
        decisions: the decisions that are shown.

    Returns:
        `versions`: of each promoted version with privacy its promise, what its account was charged for it,
        what all jobs spent in that period, whether they did before a reset, and the model for which it was
        charged if that is another one.
        `accounts`: of each of their accounts the number of entries, the head, how it differs from one
        that jobs or decisions knew, a line for each job, and the resets.

    Raises:
        LedgerTampered: an entry of an account does not follow.
    """
    promoted = {
        each["version"]: each["evidence"]
        for each in decisions
        if each["accepted"] and "privacy" in each["evidence"]
    }
    if not promoted:
        return NOTHING
    from data_contracts.strict_json import read_strictly
    from models.privacy.guarantee import Guarantee
    from models.privacy.statement import job_lines
    from models.promotion.privacy_gate import is_over_budget
    from tasks.privacy.account_file import lost_since, read_account
    from tasks.promotion.account_heads import kept_heads
    from tasks.promotion.spend import spend_in

    promises = {version: read_strictly(Guarantee, each["privacy"]) for version, each in promoted.items()}
    accounts = {name: read_account(home, name) for name in sorted({p.account for p in promises.values()})}
    versions = []
    for version, promised in sorted(promises.items()):
        job_id, model_sha256 = promoted[version]["job_id"], promoted[version]["sha256"]
        spend = spend_in(accounts[promised.account][0], promised, job_id, model_sha256)
        versions.append(
            {
                "version": version,
                "job_id": job_id,
                **asdict(promised),
                "charged": spend.charged,
                "spent": spend.spent,
                "before_reset": spend.is_before_reset,
                "over_budget": is_over_budget(promised, spend.spent),
                "other_model": spend.other_model,
            }
        )
    kept = kept_heads(home)
    return {
        "versions": versions,
        "accounts": [
            {
                "account": name,
                "entries": head.count,
                "head": head.sha256,
                "lost": lost_since(home, name, kept.get(name, [])),
                "jobs": [asdict(line) for line in job_lines(account)],
                "resets": [asdict(each) for each in account.resets],
            }
            for name, (account, head) in accounts.items()
        ],
    }


def verified_accounts(home: Home) -> list[dict[str, Any]]:
    """Return name, number of entries and head of each privacy account of the home.

    Raises:
        LedgerTampered: an entry of an account does not follow, or one that a job or a decision knew is gone.
    """
    from tasks.privacy.account_file import accounts, lost_since, read_account
    from tasks.promotion.account_heads import kept_heads

    for name, kept in kept_heads(home).items():
        if missing := lost_since(home, name, kept):
            raise LedgerTampered(
                f"The privacy account {name!r} is not what it was: {missing}.",
                next_step=f"Restore {home.privacy / name}.jsonl from a copy, and ask who could write to it.",
                account=name,
            )
    heads = {name: read_account(home, name)[1] for name in accounts(home)}
    return [{"account": name, "entries": head.count, "head": head.sha256} for name, head in heads.items()]


def epsilon_of_decision(decision: Mapping[str, Any]) -> str:
    """Return the epsilon that a decided version promises, as a cell of a table."""
    promised = decision["evidence"].get("privacy")
    return f"{promised['epsilon']:g}" if promised else "-"


def promise_of_decision(decision: Mapping[str, Any]) -> str | None:
    """Return what a decided version promises, in words; None if it promises no privacy."""
    promised = decision["evidence"].get("privacy")
    if not promised:
        return None
    is_plain = promised["noise_by"] == "clients"
    read = "; the coordinator read updates with a share of it only" if is_plain else ""
    return (
        f"epsilon {promised['epsilon']:g}, delta {promised['delta']:g} for each {promised['unit']}; noise of "
        f"multiplier {promised['multiplier']:.4g} by {promised['noise_by']}{read}"
    )


def show_privacy(found: Mapping[str, Any]) -> None:
    """Print what the accounts spent when, and what promoted versions promise; nothing if there are none."""
    from flows.terminal.table import Column, print_table
    from models.privacy.statement import budget_text

    for account in found["accounts"]:
        click.echo(
            f"Privacy account {account['account']}: {account['entries']} entries, each follows from the one "
            f"before; head {account['head'][:12]}."
        )
        if account["lost"]:
            click.echo(f"NOT WHAT IT WAS: {account['lost']}. Restore it from a copy.")
        print_table(
            (
                Column("at (UTC)"),
                Column("job"),
                Column("model"),
                Column("epsilon", is_number=True),
                Column("delta", is_number=True),
                Column("budget"),
                Column("state", wraps=True),
            ),
            [
                (
                    line["at"][:16].replace("T", " "),
                    line["job_id"],
                    line["model_name"],
                    f"{line['epsilon']:.4g}",
                    f"{line['delta']:g}",
                    budget_text(line["budget"], line["period"]),
                    line["state"],
                )
                for line in account["jobs"]
            ],
        )
        for reset in account["resets"]:
            click.echo(f"Reset by {reset['by']}, {reset['at']}: {reset['reason']}")
    for each in found["versions"]:
        click.echo(_balance(each))


def _balance(version: Mapping[str, Any]) -> str:
    name = f"Version {version['version']}"
    if version["charged"] is None:
        return f"{name}: the account {version['account']} was never charged for job {version['job_id']}."
    if version["other_model"] is not None:
        return (
            f"{name}: the account {version['account']} was charged for another model of job "
            f"{version['job_id']}, {version['other_model'][:12]}."
        )
    period = "" if version["period"] == "ever" else f" of its {version['period']}"
    over = "OVER BUDGET, " if version["over_budget"] else ""
    has, when = ("had", " before a reset") if version["before_reset"] else ("has", "")
    return (
        f"{name}: epsilon {version['epsilon']:g}; {over}the account {version['account']} {has} spent "
        f"{version['spent']:.4g} of {version['budget']:g}{period}{when}."
    )


def show_accounts(accounts: Sequence[Mapping[str, Any]]) -> None:
    """Print the heads of verified accounts."""
    for each in accounts:
        click.echo(
            f"The privacy account {each['account']} is intact: {each['entries']} entries, "
            f"head {each['head']}."
        )
