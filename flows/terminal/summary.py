"""A job's result in the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from tasks.messages.job_result import JobResult
from tasks.reports.result_rows import (
    ClientBenefit,
    MetricComparison,
    benefit_together,
    benefits,
    comparisons,
    contract_tallies,
    how_users_are_scored,
    judgement,
    notes,
    overall_benefit,
    publishers,
    rejections,
    time_shares,
    verdict,
)

_NAMED_CLIENTS = 5
_BAR_WIDTH = 20


def show_result(result: JobResult, console: Console, open_next: Sequence[str] = ()) -> None:
    """Print a job's outcome: tables side by side, who gained, where the time went, what next.

    Args:
        result: the job's result, as it also stands in `result.json`.
        console: where to print; 80 columns are enough.
        open_next: lines that tell the reader where to go from here.
    """
    finished = result.status == "finished"
    console.print()
    console.print(Text(verdict(result), style="bold" if finished else "bold red"))
    for said in notes(result):
        console.print(escape(said), highlight=False)
    rows = comparisons(result)
    if any(row.federated is not None for row in rows):
        console.print()
        console.print(_comparison_table(rows))
        if (scored_by := how_users_are_scored(result)) is not None:
            console.print(scored_by, highlight=False)
        console.print()
    _show_benefits(result, console)
    _show_checks(result, console)
    console.print()
    console.print(_time_table(result))
    if beside := result.timings.tracking_beside_s:
        console.print(f"Beside all this, sending the rounds to MLflow took {beside:.2f} s.", highlight=False)
    if open_next:
        console.print()
        console.print("[bold]Open next[/bold]")
        for line in open_next:
            # Long lines are addresses and commands: they wrap in the terminal but stay one line for copying.
            console.print(f"  {escape(line)}", highlight=False, soft_wrap=True)


def _comparison_table(rows: Sequence[MetricComparison]) -> Table:
    """Return the table with only the columns that the job has numbers for."""
    columns = [
        ("federated", [row.federated for row in rows], "{:.4f}"),
        ("± noise", [row.noise for row in rows], "{:.4f}"),
        ("centralised", [row.centralised for row in rows], "{:.4f}"),
        ("silo-only", [row.silo_only for row in rows], "{:.4f}"),
        ("÷ centralised", [row.to_centralised for row in rows], "{:.3f}"),
        ("÷ silo-only", [row.to_silo_only for row in rows], "{:.3f}"),
    ]
    known = [column for column in columns if any(value is not None for value in column[1])]
    is_compared = any(name in ("centralised", "silo-only") for name, _, _ in known)
    table = Table(
        title=f"Test split{', side by side' if is_compared else ''}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("metric")
    for name, _, _ in known:
        table.add_column(name, justify="right", style="bold" if name == "federated" else "")
    for place, row in enumerate(rows):
        cells = ["–" if values[place] is None else form.format(values[place]) for _, values, form in known]
        table.add_row(row.metric, *cells)
    return table


def _show_benefits(result: JobResult, console: Console) -> None:
    gains, label = benefits(result), judgement(result).benefit_label
    overall, together = overall_benefit(result), benefit_together(gains)
    if overall is not None:
        console.print(
            f"[bold]Joining[/bold] changes {label} by {_difference(overall)} over all {overall.cases} cases.",
            highlight=False,
        )
    if together is None:
        return
    losers = [one for one in reversed(gains) if one.clearly_loses]
    gainers = sum(one.clearly_gains for one in gains)
    whose = f"{len(gains)} clients"
    if publishers(result):
        whose = "the silos that published"
        console.print(
            f"Over the {together.cases} cases of {whose}, it changes it by {_difference(together)}.",
            highlight=False,
        )
    console.print(f"Beyond chance it helps {gainers} and harms {len(losers)} of {whose}.", highlight=False)
    if losers:
        named = ", ".join(f"{escape(one.client_id)} ({one.mean:+.4f})" for one in losers[:_NAMED_CLIENTS])
        more = f" and {len(losers) - _NAMED_CLIENTS} more" if len(losers) > _NAMED_CLIENTS else ""
        console.print(f"  [yellow]Served worse:[/yellow] {named}{more}.", highlight=False)
    keepers = [escape(one.client_id) for one in gains if one.offer == "local"]
    if keepers:
        more = f" and {len(keepers) - _NAMED_CLIENTS} more" if len(keepers) > _NAMED_CLIENTS else ""
        named = ", ".join(keepers[:_NAMED_CLIENTS])
        console.print(
            f"  Offered their own model, by their validation cases: {named}{more}.", highlight=False
        )


def _difference(benefit: ClientBenefit) -> str:
    return f"{benefit.mean:+.4f}" + ("" if benefit.margin is None else f" ± {benefit.margin:.4f}")


def _show_checks(result: JobResult, console: Console) -> None:
    tallies = contract_tallies(result)
    if tallies:
        parts = [f"{one.contract} {one.passed}/{one.checked}" for one in tallies]
        colour = "yellow" if any(one.broken for one in tallies) else "green"
        console.print(f"[bold]Contracts[/bold] that held: [{colour}]{', '.join(parts)}[/].", highlight=False)
    rejected = rejections(result)
    if not rejected:
        # The round that stopped a job is not among its rounds; its rejections are in the reason.
        if result.status == "finished":
            console.print("[bold]Rejections[/bold]: none.", highlight=False)
        return
    round_, last = rejected[-1]
    console.print(
        f"[bold]Rejections[/bold]: [yellow]{len(rejected)}[/yellow]; the last in round {round_}: "
        f"{escape(last.client_id)} at {escape(last.stage)}: {escape(last.reason)}",
        highlight=False,
    )


def _time_table(result: JobResult) -> Table:
    total = result.timings.total_s
    table = Table(
        title=f"Wall time: {total:.1f} s",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    table.add_column("stage")
    table.add_column("seconds", justify="right")
    table.add_column("share", justify="right")
    table.add_column("")
    for one in time_shares(result):
        table.add_row(
            one.label, f"{one.seconds:.2f}", f"{one.share:.1%}", "█" * round(one.share * _BAR_WIDTH)
        )
    return table
