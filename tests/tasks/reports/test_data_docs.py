"""Data Docs: a page that shows every validation, works offline, and exists completely or not at all."""

import re
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from playwright.sync_api import Page

from data_contracts.interactions import check_interactions
from data_contracts.outcome import ContractOutcome
from data_contracts.rule import max_between, one_of, row_count
from data_contracts.validation import validate
from models.errors import InvalidInput
from models.kernel.catalog import ItemCatalog
from tasks.reports.data_docs import build_data_docs

SCRIPT = "<u>x</u><script>alert('x')</script>"


@pytest.fixture(scope="module")
def outcomes() -> list[ContractOutcome]:
    """Return the stored outcomes of a job: a client with an unknown item, and two good rounds."""
    frame = pd.DataFrame({"user_id": ["u", "u"], "item_id": ["a", SCRIPT]})
    rules = [row_count("rows", 1), max_between("drift", "x", None, 3.0, "a relative drift")]
    kept = [
        check_interactions(frame, ItemCatalog.of(["a"]), "R&D <b>"),
        *(validate("embeddings", f"round-{n}", pd.DataFrame({"x": [2.5]}), rules, "x") for n in (10, 2)),
    ]
    return [ContractOutcome.from_json(outcome.to_json()) for outcome in kept]


def page_of(outcomes: Iterable[ContractOutcome], folder: Path) -> str:
    index = build_data_docs(outcomes, folder)
    assert [path.name for path in folder.iterdir()] == ["index.html"]
    return index.read_text(encoding="utf-8")


def section(page: str, name: str) -> str:
    """Return the part of the page about one validation, named as in HTML."""
    found = re.findall(r"<details.*?</details>", page, re.DOTALL)
    (one,) = [each for each in found if f"<summary><span>{name}</span>" in each]
    return str(one)


def test_the_page_lists_breaches_and_every_validation_in_order(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    text = page_of(outcomes, tmp_path / "job")
    assert "3 validations, 1 with a breach." in text
    assert "every item_id in the job&#39;s catalogue" in text
    assert re.findall(r"<summary><span>([^<]*)</span>", text) == [
        "interactions / R&amp;D &lt;b&gt;",
        "embeddings / round-2",
        "embeddings / round-10",
    ]
    assert "href" not in text


def test_every_element_is_closed_where_it_was_opened(outcomes: list[ContractOutcome], tmp_path: Path) -> None:
    class Nesting(HTMLParser):
        """Follows the open elements."""

        opened: list[str]

        def handle_starttag(self, tag: str, attrs: object) -> None:
            if tag not in ("meta", "br", "input", "img", "hr"):
                self.opened.append(tag)

        def handle_endtag(self, tag: str) -> None:
            assert self.opened.pop() == tag

    nesting = Nesting()
    nesting.opened = []
    nesting.feed(page_of(outcomes, tmp_path / "docs"))
    assert nesting.opened == []


def test_a_section_shows_the_failed_expectation_and_the_observation(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    page = page_of(outcomes, tmp_path / "docs")
    broken = section(page, "interactions / R&amp;D &lt;b&gt;")
    assert "Requires every item_id in the job&#x27;s catalogue" in broken
    assert "1 unexpected values found. 50% of 2 total rows." in broken
    assert "Failed" in broken
    held = section(page, "embeddings / round-2")
    assert "Requires a relative drift of at most 3" in held
    assert "2.5" in held
    assert "Succeeded" in held


def test_the_page_needs_no_network_and_runs_no_script(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    text = page_of(outcomes, tmp_path / "docs")
    assert "http://" not in text and "https://" not in text
    assert "<script" not in text and "<b>" not in text and "<u>" not in text
    assert "default-src 'none'" in text


def test_every_validation_opens_where_links_do_not_work(
    outcomes: list[ContractOutcome], tmp_path: Path, page: Page
) -> None:
    """MLflow shows an artefact from memory (a blob), in a frame that may run scripts and do nothing else."""
    page.set_content('<iframe sandbox="allow-scripts" width="900" height="700"></iframe>')
    page.eval_on_selector(
        "iframe",
        "(frame, html) => { frame.src = URL.createObjectURL(new Blob([html], {type: 'text/html'})) }",
        page_of(outcomes, tmp_path / "docs"),
    )
    shown = page.frame_locator("iframe")
    shown.get_by_text("1 unexpected values found.").wait_for(state="visible")
    rule = shown.get_by_text("Requires a relative drift of at most 3")
    assert [rule.nth(place).is_visible() for place in (0, 1)] == [False, False]
    shown.get_by_text("embeddings / round-10").click()
    rule.nth(1).wait_for(state="visible")
    assert not rule.nth(0).is_visible()


def test_building_again_gives_the_same_bytes_and_leaves_nothing_beside_them(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    first = page_of(outcomes, tmp_path / "docs")
    assert page_of(reversed(outcomes), tmp_path / "docs") == first
    assert page_of(outcomes[:1], tmp_path / "docs") != first
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def test_of_two_outcomes_for_one_subject_the_last_is_shown(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    later = replace(outcomes[0], passed=True, breaches=())
    text = build_data_docs([*outcomes, later], tmp_path / "docs").read_text(encoding="utf-8")
    assert "3 validations, 0 with a breach." in text


def test_a_failed_build_leaves_the_earlier_site(outcomes: list[ContractOutcome], tmp_path: Path) -> None:
    before = page_of(outcomes, tmp_path / "docs")
    broken: Any = None
    with pytest.raises(TypeError, match=r"."):
        build_data_docs([replace(outcomes[0], breaches=broken)], tmp_path / "docs")
    assert (tmp_path / "docs" / "index.html").read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


@pytest.mark.parametrize("results", [[{"nonsense": 1}], "x", 5, None, [None], {"a": []}])
def test_a_result_of_any_other_form_costs_only_its_details(
    outcomes: list[ContractOutcome], tmp_path: Path, results: object
) -> None:
    """A silo's outcome is its own text. It must not end the job in which it is shown."""
    sent = replace(outcomes[0], subject="9" * 5000, result={"success": False, "results": results})
    page = page_of([sent, outcomes[1]], tmp_path / "docs")
    assert "2 validations, 1 with a breach." in page
    assert page.count("The details cannot be shown.") == 1
    assert "every item_id in the job&#39;s catalogue" in page
    assert "<script" not in page


def test_remains_of_a_killed_build_do_not_matter(outcomes: list[ContractOutcome], tmp_path: Path) -> None:
    (tmp_path / ".docs.new").mkdir()
    (tmp_path / ".docs.new" / "half.html").write_text("half", encoding="utf-8")
    assert "half" not in page_of(outcomes, tmp_path / "docs")
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def test_another_folder_is_not_replaced(outcomes: list[ContractOutcome], tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(InvalidInput, match=r"no index\.html"):
        build_data_docs(outcomes, tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def test_a_job_without_outcomes_has_an_index_that_says_so(tmp_path: Path) -> None:
    assert "0 validations, 0 with a breach." in build_data_docs([], tmp_path / "docs").read_text(
        encoding="utf-8"
    )


def test_text_that_looks_like_a_template_is_shown_unchanged(tmp_path: Path) -> None:
    rules = [one_of("kind", "kind", ["known"], "a known kind")]
    frame = pd.DataFrame({"kind": ["$x ${y} {{ 7 * 7 }} %s"], "row": [0]})
    outcome = validate("updates", r"round \1 \g<0>", frame, rules, "row")
    page = page_of([outcome], tmp_path / "docs")
    assert "$x ${y} {{ 7 * 7 }} %s" in page
    assert r"updates / round \1 \g&lt;0&gt;" in page


def test_what_passed_is_shown_as_great_expectations_renders_it_alone(tmp_path: Path) -> None:
    """What passed is rendered once for a form. An outcome that is said to be broken is rendered by itself."""
    described = [
        ("a", [2.5], 3.0, "a relative drift"),
        ("b & <b>", [1e-7, -12345.678], 20000.0, "the client's drift of <i>3</i>"),
        ("c", [-1e300], 1.5, "$x ${y}  and \\1"),
        ("\ue0000. \ue0001.", [0.0], 7.0, "\ue0000.\ue0001."),
        ("e", [1234567.0], 1e9, "ü 漢字 \ue0001."),
    ]
    held = []
    for name, values, most, what in described:
        frame = pd.DataFrame({"x": values, "kind": ["k"] * len(values), "row": range(len(values))})
        rules = [
            row_count("rows", 1),
            max_between("drift", "x", None, most, what),
            one_of("kind", "kind", ["k", name], what),
        ]
        outcome = validate("updates", name, frame, rules, "row")
        held.append(ContractOutcome.from_json(outcome.to_json()))
    assert all(each.passed for each in held)

    def results(outcomes: list[ContractOutcome]) -> list[str]:
        page = page_of(outcomes, tmp_path / "docs")
        return re.findall(r"</summary>(.*?)</details>", page, re.DOTALL)

    alone = [replace(each, passed=False) for each in held]
    assert results(held) == results(alone)
    assert len(results(held)) == len(held)


def test_of_many_validations_that_hold_the_page_counts_the_rest_and_shows_every_breach(
    outcomes: list[ContractOutcome], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, held = outcomes[0], outcomes[1]
    monkeypatch.setattr("tasks.reports.data_docs.MOST_HELD", 2)
    many = [replace(held, subject=f"round-{n}") for n in range(1, 6)]
    again = replace(broken, contract="embeddings", subject="round-5")  # it held before
    text = page_of([*many, again, broken], tmp_path / "job")
    assert "6 validations, 2 with a breach." in text
    assert re.findall(r"<summary><span>([^<]*)</span>", text) == [
        "interactions / R&amp;D &lt;b&gt;",
        "embeddings / round-1",
        "embeddings / round-2",
        "embeddings / round-5",
    ]
    assert "2 more validations of contract embeddings hold." in text
