"""Data Docs: the contracts' results of a whole job as one page.

Great Expectations renders each validation from a stored result. The list of them is fedrec's own, because
that of Great Expectations needs scripts from the network and the time of each run, which outcomes leave out
on purpose. All is on one page, and opens without links: MLflow shows an artefact in a frame in which neither
links to other files nor links within the page work. The page is complete offline, and a content security
policy blocks scripts.
"""

from __future__ import annotations

import html
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from data_contracts.outcome import CONTRACTS, ContractName, ContractOutcome
from models.errors import InvalidInput

INDEX = "index.html"
# Validations that hold, of one contract, whose details are shown. No browser opens a page of ten thousand.
MOST_HELD = 1000
_MOST_DIGITS = 100  # of a number in a subject

# Stands for what differs between outcomes of one form. A private character, so no text means it.
_MARK = "\ue000"
_MARKED = re.compile(rf"{_MARK}(\d+)\.")
# What a description is shown instead of, with values that every outcome may have.
_LIMITS: dict[str, Any] = {"value_set": [], "min_value": 0, "max_value": 0}
# A description in which neither Great Expectations' templates nor `_results` change anything.
_PLAIN = re.compile(r"[^\s$<>]+( [^\s$<>]+)*")
_TEMPLATES = Path(__file__).parent
# The column of Great Expectations' page that shows the results, between its navigation and the end.
_RESULTS = '<div class="col-md-10'
_UNUSED = re.compile(
    r"<script\b.*?</script>|<footer\b.*?</footer>|<img\b[^>]*>"
    r"|<p class=\"m-0\">\s*<a\b[^>]*>\s*Show more info\.\.\.\s*</a>\s*</p>|</?a\b[^>]*>",
    re.DOTALL,
)
_ATTRIBUTES = re.compile(r'\s(?:id|style|data-[a-z-]+|aria-[a-z-]+)=(?:"[^"]*"|[^\s>]+)')


def build_data_docs(outcomes: Iterable[ContractOutcome], folder: Path) -> Path:
    """Build the page for these outcomes in `folder`, replacing an earlier one; return its index.html.

    It is built beside `folder` and then renamed, so a killed build leaves the earlier page, or none.

    Args:
        outcomes: in any order, read once. If there are several for one contract and subject, the last one
            counts. Of each contract, the page shows the details of `MOST_HELD` that hold, and counts others.
        folder: the page's folder. Its parent need not exist.

    Raises:
        InvalidInput: `folder` exists but holds no such page.
    """
    if folder.exists() and not (folder / INDEX).is_file():
        raise InvalidInput(
            f"{folder} is not a folder of Data Docs: it has no {INDEX}.",
            next_step="Name another folder, or remove this one.",
        )
    shown, others = _shown_and_others(outcomes)
    building, old = (folder.with_name(f".{folder.name}.{state}") for state in ("new", "old"))
    for leftover in (building, old):
        shutil.rmtree(leftover, ignore_errors=True)
    building.mkdir(parents=True)
    try:
        _write(shown, others, building)
        if folder.exists():
            folder.rename(old)
        building.rename(folder)
    finally:
        if old.exists() and not folder.exists():
            old.rename(folder)
        for leftover in (building, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return folder / INDEX


def _shown_and_others(
    outcomes: Iterable[ContractOutcome],
) -> tuple[list[ContractOutcome], Mapping[ContractName, int]]:
    """Return the outcomes to show, in order, and the numbers of others by contract, which all hold."""
    shown: dict[tuple[ContractName, str], ContractOutcome] = {}
    others: dict[ContractName, set[str]] = {name: set() for name in CONTRACTS}
    held = Counter[str]()
    for outcome in outcomes:
        key = outcome.contract, outcome.subject
        before = shown.pop(key, None)
        others[outcome.contract].discard(outcome.subject)
        held[outcome.contract] -= before is not None and before.passed
        if outcome.passed and held[outcome.contract] >= MOST_HELD:
            others[outcome.contract].add(outcome.subject)
        else:
            held[outcome.contract] += outcome.passed
            shown[key] = outcome
    counts = {name: len(subjects) for name, subjects in others.items() if subjects}
    return sorted(shown.values(), key=_order), counts


def _write(outcomes: Sequence[ContractOutcome], others: Mapping[ContractName, int], folder: Path) -> None:
    """Write the page to `folder`."""
    templates = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True)
    rows = list(zip(outcomes, _rendered(outcomes), strict=True))
    text = templates.get_template("data_docs.html.j2").render(rows=rows, others=others)
    (folder / INDEX).write_text(text, encoding="utf-8")


def _rendered(outcomes: Iterable[ContractOutcome]) -> Iterable[Markup]:
    """Yield the results of each outcome as Great Expectations renders them."""
    render = _renderer()
    pages: dict[str, str] = {}
    for outcome in outcomes:
        try:
            shown = _shown(outcome, render, pages)
        except Exception:  # noqa: BLE001 - a silo may send a result of any form
            shown = "<p>The details cannot be shown.</p>"
        yield Markup(shown)  # noqa: S704 - all text from outcomes is escaped


def _renderer() -> Callable[[str, Mapping[str, Any]], str]:
    """Return a function that renders the results of (subject, result) with Great Expectations."""
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

    def render(subject: str, result: Mapping[str, Any]) -> str:
        run = {"run_name": html.escape(subject), "run_time": ""}
        meta = {"run_id": run, "great_expectations_version": gx.__version__}
        loaded = schema.load({**_escaped(result), "meta": meta})
        return _results(view.render(renderer.render(loaded), show_how_to_buttons=False))

    return render


def _shown(
    outcome: ContractOutcome, render: Callable[[str, Mapping[str, Any]], str], pages: dict[str, str]
) -> str:
    """Return the results of an outcome. What passed is rendered once for all outcomes of its form.

    Args:
        outcome: the outcome.
        render: returns the results of a subject and a result.
        pages: form -> its results, with marks where outcomes differ. The new one is added.
    """
    if not outcome.passed:
        return render(outcome.subject, outcome.result)
    form, texts = _form(outcome)
    key = json.dumps(form, sort_keys=True, ensure_ascii=False)
    if key.count(_MARK) != len(texts) - 1:
        # It has marks of its own.
        return render(outcome.subject, outcome.result)
    if key not in pages:
        pages[key] = render(f"{_MARK}0.", form)
    return _MARKED.sub(lambda found: texts[int(found[1])], pages[key])


def _form(outcome: ContractOutcome) -> tuple[Mapping[str, Any], list[str]]:
    """Return a passed result with marks in place of what differs, and this as HTML, the subject first."""
    from great_expectations.render.util import num_to_str

    texts = [html.escape(outcome.subject)]

    def mark(text: str) -> str:
        texts.append(text)
        return f"{_MARK}{len(texts) - 1}."

    results = []
    for each in outcome.result["results"]:
        found, config = dict(each["result"]), dict(each["expectation_config"])
        observed, described = found.get("observed_value"), config.get("description")
        if isinstance(observed, int | float) and not isinstance(observed, bool):
            # As Great Expectations writes an observed number.
            found["observed_value"] = mark(num_to_str(observed, precision=10, use_locale=True))
        if found.get("unexpected_count") == 0:
            # The number of rows is shown only beside a number of unexpected ones.
            found.pop("element_count", None)
        if isinstance(described, str) and _PLAIN.fullmatch(described):
            config["description"] = mark(html.escape(described))
            config["kwargs"] = {name: _LIMITS.get(name, one) for name, one in config["kwargs"].items()}
        results.append({**each, "result": found, "expectation_config": config})
    return {**outcome.result, "results": results}, texts


def _results(page: str) -> str:
    """Return the part of Great Expectations' page that shows the results, without what needs its scripts."""
    part = page[page.index(_RESULTS) : page.rindex("</body>")]
    part = _ATTRIBUTES.sub("", _UNUSED.sub("", part))
    # Of the two elements around the column only the ends are left.
    return re.sub(r"(?:</div>\s*){2}$", "", re.sub(r"\s+", " ", part).strip())


def _escaped(value: Any) -> Any:
    """Return the JSON value with its text safe for HTML, which Great Expectations does not escape."""
    if isinstance(value, str):
        return html.escape(value)
    if isinstance(value, Mapping):
        return {name: _escaped(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_escaped(one) for one in value]
    return value


def _order(outcome: ContractOutcome) -> tuple[int, list[tuple[int, str]]]:
    """Return the sort key: contract, then subject with round-2 before round-10."""
    parts = re.split(r"(\d+)", outcome.subject)
    return CONTRACTS.index(outcome.contract), [
        (int(part[:_MOST_DIGITS]), "") if part.isdecimal() else (0, part) for part in parts
    ]
