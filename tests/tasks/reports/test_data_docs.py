"""Data Docs: a site that shows every validation, works offline, and exists completely or not at all."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

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


def site(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def without_ids(pages: Mapping[str, str]) -> dict[str, str]:
    """Return pages without the random element ids that Great Expectations gives."""
    return {
        name: re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "id", text) for name, text in pages.items()
    }


def test_the_index_lists_breaches_and_links_every_page_in_order(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    index = build_data_docs(outcomes, tmp_path / "job" / "docs")
    assert index == tmp_path / "job" / "docs" / "index.html"
    text = index.read_text(encoding="utf-8")
    assert "3 validations, 1 with a breach." in text
    assert "every item_id in the job&#39;s catalogue" in text
    assert "R&amp;D &lt;b&gt;" in text
    links = list(dict.fromkeys(re.findall(r'href="([^"]+)"', text)))
    assert links == [
        "0000-interactions-R-D-b-.html",
        "0001-embeddings-round-2.html",
        "0002-embeddings-round-10.html",
    ]
    assert sorted(site(index.parent)) == [*links, "index.html"]


def test_a_page_shows_the_failed_expectation_and_the_observation(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    pages = site(build_data_docs(outcomes, tmp_path / "docs").parent)
    broken = pages["0000-interactions-R-D-b-.html"]
    assert "Requires every item_id in the job&#x27;s catalogue" in broken
    assert "1 unexpected values found. 50% of 2 total rows." in broken
    assert "Failed" in broken
    assert "<title>interactions / R&amp;D &lt;b&gt;</title>" in broken
    held = pages["0001-embeddings-round-2.html"]
    assert "Requires a relative drift of at most 3" in held
    assert "2.5" in held
    assert "Succeeded" in held


def test_the_site_needs_no_network_and_runs_no_script(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    for name, text in site(build_data_docs(outcomes, tmp_path / "docs").parent).items():
        assert "http://" not in text and "https://" not in text, name
        assert "<script" not in text and "<b>" not in text and "<u>" not in text, name
        assert "default-src 'none'" in text, name


def test_building_again_gives_the_same_site_and_leaves_nothing_beside_it(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    first = site(build_data_docs(outcomes, tmp_path / "docs").parent)
    second = site(build_data_docs(reversed(outcomes), tmp_path / "docs").parent)
    assert without_ids(first) == without_ids(second)
    fewer = site(build_data_docs(outcomes[:1], tmp_path / "docs").parent)
    assert len(fewer) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


def test_of_two_outcomes_for_one_subject_the_last_is_shown(
    outcomes: list[ContractOutcome], tmp_path: Path
) -> None:
    later = replace(outcomes[0], passed=True, breaches=())
    text = build_data_docs([*outcomes, later], tmp_path / "docs").read_text(encoding="utf-8")
    assert "3 validations, 0 with a breach." in text


def test_a_failed_build_leaves_the_earlier_site(outcomes: list[ContractOutcome], tmp_path: Path) -> None:
    before = site(build_data_docs(outcomes, tmp_path / "docs").parent)
    broken: Any = None
    with pytest.raises(TypeError, match=r"."):
        build_data_docs([replace(outcomes[0], breaches=broken)], tmp_path / "docs")
    assert site(tmp_path / "docs") == before
    assert [path.name for path in tmp_path.iterdir()] == ["docs"]


@pytest.mark.parametrize("results", [[{"nonsense": 1}], "x", 5, None, [None], {"a": []}])
def test_a_result_of_any_other_form_costs_only_its_details(
    outcomes: list[ContractOutcome], tmp_path: Path, results: object
) -> None:
    """A silo's outcome is its own text. It must not end the job in which it is shown."""
    sent = replace(outcomes[0], subject="9" * 5000, result={"success": False, "results": results})
    docs = build_data_docs([sent, outcomes[1]], tmp_path / "docs").parent
    pages = site(docs)
    assert len(pages) == 3
    (page,) = [text for name, text in pages.items() if name.startswith("0000-interactions")]
    assert "The details cannot be shown." in page
    assert "every item_id in the job&#x27;s catalogue" in page
    assert "default-src 'none'" in page
    assert "<script" not in page


def test_remains_of_a_killed_build_do_not_matter(outcomes: list[ContractOutcome], tmp_path: Path) -> None:
    (tmp_path / ".docs.new").mkdir()
    (tmp_path / ".docs.new" / "half.html").write_text("half", encoding="utf-8")
    assert "half.html" not in site(build_data_docs(outcomes, tmp_path / "docs").parent)
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
    page = site(build_data_docs([outcome], tmp_path / "docs").parent)["0000-updates-round-1-g-0-.html"]
    assert "$x ${y} {{ 7 * 7 }} %s" in page
    assert r"updates / round \1 \g&lt;0&gt;" in page
