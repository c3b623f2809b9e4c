"""Data Docs: the contracts' results of a whole job as a static site.

Great Expectations renders each page from a stored result. The index is fedrec's own, because that of Great
Expectations needs scripts from the network and the time of each run, which outcomes leave out on purpose.
Scripts and remote style sheets of the pages are replaced by a small style. So the site is complete offline,
and a content security policy blocks scripts.
"""

from __future__ import annotations

import html
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

from data_contracts.outcome import CONTRACTS, ContractOutcome
from models.errors import InvalidInput

INDEX = "index.html"
_MOST_DIGITS = 100  # of a number in a subject

_TEMPLATES = Path(__file__).parent
_REMOTE = re.compile(
    r"<script\b.*?</script>|<link\b[^>]*>|<img\b[^>]*>|<footer\b.*?</footer>"
    r"|<style>\s*</style>|@media \(prefers-color-scheme: dark\) \{.*?(?=</style>)",
    re.DOTALL,
)


def build_data_docs(outcomes: Iterable[ContractOutcome], folder: Path) -> Path:
    """Build the site for these outcomes in `folder`, replacing an earlier one; return its index.html.

    The site is built beside `folder` and then renamed, so a killed build leaves the earlier site, or none.

    Args:
        outcomes: in any order. If there are several for one contract and subject, the last one counts.
        folder: the site's folder. Its parent need not exist.

    Raises:
        InvalidInput: `folder` exists but is not such a site.
    """
    if folder.exists() and not (folder / INDEX).is_file():
        raise InvalidInput(
            f"{folder} is not a folder of Data Docs: it has no {INDEX}.",
            next_step="Name another folder, or remove this one.",
        )
    ordered = sorted({(one.contract, one.subject): one for one in outcomes}.values(), key=_order)
    building, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        _write(ordered, building)
        if folder.exists():
            folder.rename(old)
        building.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (building, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return folder / INDEX


def _write(outcomes: Sequence[ContractOutcome], folder: Path) -> None:
    """Write a page for each outcome and the index to `folder`."""
    templates = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
    style = templates.get_template("data_docs_style.j2").render()
    pages = [f"{number:04d}-{_slug(one)}.html" for number, one in enumerate(outcomes)]
    for name, text in zip(pages, _rendered(outcomes, style), strict=True):
        (folder / name).write_text(text, encoding="utf-8")
    rows = list(zip(outcomes, pages, strict=True))
    index = templates.get_template("data_docs_index.j2").render(rows=rows, style=style)
    (folder / INDEX).write_text(index, encoding="utf-8")


def _rendered(outcomes: Iterable[ContractOutcome], style: str) -> Iterable[str]:
    """Yield Great Expectations' page of each outcome, made to work offline."""
    import great_expectations as gx
    from great_expectations.core.expectation_validation_result import (
        ExpectationSuiteValidationResultSchema,
    )
    from great_expectations.render.renderer.page_renderer import ValidationResultsPageRenderer
    from great_expectations.render.view import DefaultJinjaPageView

    import data_contracts.expectations  # noqa: F401 - registers how our expectations are rendered

    schema = ExpectationSuiteValidationResultSchema()
    renderer = ValidationResultsPageRenderer()
    view = DefaultJinjaPageView()  # reused, because each new one compiles its templates: 70 ms per page
    for outcome in outcomes:
        run = {"run_name": html.escape(outcome.subject), "run_time": ""}
        meta = {"run_id": run, "great_expectations_version": gx.__version__}
        try:
            result = schema.load({**_escaped(outcome.result), "meta": meta})
            page = view.render(renderer.render(result), show_how_to_buttons=False)
        except Exception:  # noqa: BLE001 - a silo may send a result of any form
            page = f"<title></title><p>{html.escape(outcome.summary())} The details cannot be shown.</p>"
        yield _offline(page, outcome, style)


def _offline(page: str, outcome: ContractOutcome, style: str) -> str:
    title = html.escape(f"{outcome.contract} / {outcome.subject}")
    page = _REMOTE.sub("", page)
    page = page.replace("<title>Data documentation compiled by Great Expectations</title>", "", 1)
    page = page.replace("<title></title>", f"<title>{title}</title>\n{style}", 1)
    page = re.sub(r"Validations / [^<]*__none__", lambda _: title, page)
    page = re.sub(r'href="[./]*/expectations/[^"]*"', "", page)
    return re.sub(r'href="[./]*/index\.html"', f'href="{INDEX}"', page)


def _escaped(value: Any) -> Any:
    """Return the JSON value with its text safe for HTML, which Great Expectations does not escape."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {name: _escaped(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(one) for one in value]
    return value


def _slug(outcome: ContractOutcome) -> str:
    return f"{outcome.contract}-{re.sub(r'[^A-Za-z0-9_-]+', '-', outcome.subject)[:60]}"


def _order(outcome: ContractOutcome) -> tuple[int, list[tuple[int, str]]]:
    """Return the sort key: contract, then subject with round-2 before round-10."""
    parts = re.split(r"(\d+)", outcome.subject)
    return CONTRACTS.index(outcome.contract), [
        (int(part[:_MOST_DIGITS]), "") if part.isdecimal() else (0, part) for part in parts
    ]
