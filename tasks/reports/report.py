"""The report of a job: one self-contained HTML file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from pydantic import JsonValue

from models.evaluation.benefit import FEWEST_CASES
from tasks.local.atomic import write_atomically
from tasks.messages.job_result import JobResult
from tasks.reports import tables
from tasks.reports.explanation import NOTHING_SHOWN, Explanation
from tasks.reports.privacy_text import privacy_paragraph
from tasks.reports.result_rows import (
    benefit_together,
    benefits,
    client_drifts,
    comparisons,
    contract_tallies,
    how_users_are_scored,
    in_bytes,
    judgement,
    notes,
    offered_benefit,
    overall_benefit,
    publishers,
    rejections,
    time_shares,
    verdict,
)

_TEMPLATE = "report.html.j2"


def write_report(
    result: JobResult, path: Path, *, explanation: Explanation = NOTHING_SHOWN, open_next: Sequence[str] = ()
) -> Path:
    """Write a job's report to `path`, and return the path. Equal results give equal bytes.

    The file loads nothing from elsewhere and runs no script, so it can be mailed, archived and logged to
    MLflow.

    Args:
        result: the job's result, as in `result.json`.
        path: the HTML file, replaced atomically.
        explanation: the explanation of the job's models.
        open_next: the report's next steps, one line each. A line may contain one `command` in backticks.
    """
    write_atomically(path, render_report(result, explanation, open_next).encode(), durable=False)
    return path


def render_report(
    result: JobResult, explanation: Explanation = NOTHING_SHOWN, open_next: Sequence[str] = ()
) -> str:
    """Return the report's HTML."""
    # Both are slow to import, and most commands need neither.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    from tasks.reports.figure_style import SHOWN_CLIENTS, themed
    from tasks.reports.report_figures import SHOWN_ROUNDS, STAGE_COLOURS, draw_all

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "metric": tables.metric,
        "signed": tables.signed,
        "ratio": tables.ratio,
        "decimals": tables.decimals,
        "percent": tables.percent,
        "seconds": tables.seconds,
        "count": tables.count,
        "bytes": in_bytes,
        "themed": themed,
    }
    gains, times = benefits(result), time_shares(result)
    drawn = draw_all(result, gains, times, explanation)
    figures = {name: Markup(svg) for name, svg in drawn.items()}  # noqa: S704 - ours
    return environment.get_template(_TEMPLATE).render(
        result=result,
        verdict=verdict(result),
        notes=notes(result),
        privacy=privacy_paragraph(result),
        by=judgement(result),
        scored_by=how_users_are_scored(result),
        comparisons=comparisons(result),
        comparison=tables.comparison_table(result),
        clients=tables.clients_table(result),
        by_round=tables.rounds_table(result),
        gains=gains,
        overall=overall_benefit(result),
        together=benefit_together(gains),
        publishers=publishers(result),
        offered=offered_benefit(gains) if gains else None,
        drifts=client_drifts(result),
        explanation=explanation,
        times=times,
        colours=STAGE_COLOURS,
        tallies=contract_tallies(result),
        rejections=rejections(result),
        settings=list(_flat(result.config)),
        figures=figures,
        open_next=open_next,
        fewest_cases=FEWEST_CASES,
        shown_clients=SHOWN_CLIENTS,
        shown_rounds=SHOWN_ROUNDS,
    )


def _flat(config: Mapping[str, JsonValue], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Return (name, value) of each setting, with nested names joined by dots as in `--set`."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            yield f"{prefix}{name}", text
