"""A finished or stopped job on one page of Markdown, for Prefect's UI."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tasks.messages.job_result import JobResult, RoundResult
from tasks.reports.result_rows import comparisons, judgement, notes, verdict

_ROUNDS = 10
_NONE = "–"


def job_summary(result: JobResult, links: Sequence[tuple[str, str]] = ()) -> str:
    """Return the page: the outcome, where to read on, the metrics, and the last rounds.

    Args:
        result: the job's result.
        links: (text, address) of further pages.
    """
    head = f"# Job {result.job_id}: {result.status}"
    facts = [
        f"- model `{result.model_name}`",
        f"- {len(result.rounds)} rounds over {result.data.clients} clients, {result.timings.total_s:.1f} s",
        *(f"- {_escaped(said)}" for said in notes(result)),
        f"- report: `{result.report}/report.html`",
        *(f"- [{_escaped(text)}]({address})" for text, address in links),
    ]
    parts = [head, _escaped(verdict(result)), "\n".join(facts)]
    rows = [row for row in comparisons(result) if row.federated is not None]
    if rows:
        table = [(row.metric, *map(_number, (row.federated, row.centralised, row.silo_only))) for row in rows]
        parts += ["## Test split", _table(("metric", "federated", "pooled", "alone"), table)]
    if result.rounds:
        quality = judgement(result)
        titles = ("round", "updates", "rejected", f"validation {quality.quality_label}", "seconds")
        last = result.rounds[-_ROUNDS:]
        which = "Rounds" if len(last) == len(result.rounds) else f"The last {len(last)} rounds"
        table = [_round(each, f"validation/{quality.quality}") for each in last]
        parts += [f"## {which}", _table(titles, table)]
    return "\n\n".join(parts) + "\n"


def _round(one: RoundResult, quality: str) -> tuple[str, ...]:
    rejected = "; ".join(f"{each.client_id} ({each.stage}: {each.reason})" for each in one.rejected)
    seconds = one.seconds.get("total")
    return (
        str(one.round),
        f"{len(one.accepted)} of {len(one.accepted) + len(one.rejected)}",
        rejected or _NONE,
        _number(one.metrics.get(quality)),
        _NONE if seconds is None else f"{seconds:.1f}",
    )


def _number(value: float | None) -> str:
    return _NONE if value is None else f"{value:.4f}"


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(text: str) -> str:
    """Return text of others, such as a client's error, as it is to be read."""
    plain = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|" else letter for letter in plain)
