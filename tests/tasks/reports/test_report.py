"""The job report: complete, self-contained, reproducible, and clear about what is missing."""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from models.evaluation.benefit import Benefit
from models.federation.client_drift import ClientDrift
from tasks.messages.job_opening import Continued
from tasks.messages.job_result import (
    ClientResult,
    ContractSummary,
    DataFacts,
    FinalMetrics,
    JobResult,
    Timings,
)
from tasks.reports.explanation import Explanation, ItemMap, Moved, MovedItem, Neighbour, Neighbours
from tasks.reports.report import render_report, write_report
from tests.worlds.records import client_result, job_result, late_update, rejection, round_result

VOID = {"meta", "br", "img", "input", "link", "hr"}
METRICS = ("hr@10", "ndcg@10", "recall@20", "loo_hr@10", "loo_ndcg@10")


def job(clients: int = 3, rounds: int = 4, **changes: Any) -> JobResult:
    """Return a finished job in which the last client loses and is rejected once."""
    names = [f"silo-{number}" for number in range(clients)]
    history = []
    for number in range(1, rounds + 1):
        rejected = (rejection(names[-1]),) if number == rounds // 2 else ()
        accepted = tuple(names[: -1 if rejected else None])
        metrics = {"validation/ndcg@10": 0.01 * number, "validation/hr@10": 0.02 * number}
        history.append(
            round_result(
                number,
                accepted=accepted,
                rejected=rejected,
                metrics=metrics if number % 2 == 0 else {},
                seconds={"total": 1.0, "train": 0.5, "merge": 0.1, "evaluate": 0.0},
                drift=1 / number,
                client_drift={
                    name: ClientDrift(0.5, 0.8 - 0.1 * place) for place, name in enumerate(accepted)
                },
                update_bytes=1000 * (clients - len(rejected)),
            )
        )
    contracts = [ContractSummary("updates", f"round-{one.round}", True, "ok") for one in history]
    contracts[0] = replace(contracts[0], passed=False, summary="norm_at_most: expected at most 2, got 7")
    parts = {
        "config": {"data": {"dir": "silos"}, "train": {"dims": 32, "loss": "warp"}},
        "data": DataFacts("cd" * 32, clients, 9, 50, 12345),
        "rounds": tuple(history),
        "final": FinalMetrics(
            federated=dict.fromkeys(METRICS, 0.06),
            centralised=dict.fromkeys(METRICS, 0.08),
            silo_only=dict.fromkeys(METRICS, 0.05),
        ),
        "clients": tuple(client(name, name == names[-1]) for name in names),
        "contracts": tuple(contracts),
        "timings": Timings(
            total_s=8.0, startup_s=2.0, train_s=4.0, merge_s=2.0, training_cpu_s=3.0, overhead_ratio=2.0
        ),
    }
    return job_result(**parts | changes)


def client(name: str, loses: bool) -> ClientResult:
    return client_result(
        name,
        -0.02 if loses else 0.01,
        0.002,
        cases=3,
        federated=dict.fromkeys(METRICS, 0.06),
        silo_only=dict.fromkeys(METRICS, 0.05),
        validation_benefit=-0.03 if loses else 0.02,
        validation_benefit_se=0.005,
        offer="local" if loses else "global",
    )


EXPLANATION = Explanation(
    map=ItemMap(
        column="genres",
        labels=["Drama", "Comedy"],
        explained=[0.25, 0.125],
        item_ids=["a", "b", "c", "d"],
        titles=["Alpha & Omega", "Beta", "Gamma", "<Delta>"],
        label=[0, 1, 0, -1],
        x=[1.0, 0.5, -0.5, -1.0],
        y=[0.0, 0.5, -0.5, 0.25],
    ),
    neighbours=[Neighbours("a", "Alpha & Omega", [Neighbour("b", "Beta", 0.875)])],
    moved=[Moved(0, 1, [MovedItem("c", "Gamma", 2.5)])],
)


class Page(HTMLParser):
    """The page's elements. Tags that do not match fail the test."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"line {self.getpos()[0]}: unexpected </{tag}>"

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.elements if name == tag]


@pytest.fixture(scope="module")
def text() -> str:
    return render_report(job(), EXPLANATION)


def test_the_page_is_complete_and_accessible(text):
    page = Page(text)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    figures = page.all("figure")
    assert len(figures) == len(page.all("figcaption")) == 8
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in page.all("svg"))
    assert all(attrs.get("scope") in {"col", "row"} for attrs in page.all("th"))
    for _, attrs in page.elements:
        for name in ("aria-labelledby", "href", "xlink:href"):
            if name in attrs:
                assert str(attrs[name]).lstrip("#") in ids


def test_the_page_loads_and_runs_nothing(text):
    page = Page(text)
    assert not {tag for tag, _ in page.elements} & {"script", "link", "iframe", "img", "object", "base"}
    loads = re.findall(r"""(?:src|href|srcset|action)\s*=\s*["'](?!#)|url\((?!#)|@import""", text)
    assert loads == []


def test_equal_results_give_equal_bytes_in_any_thread(tmp_path, text):
    with ThreadPoolExecutor(3) as pool:
        paths = list(
            pool.map(
                lambda n: write_report(job(), tmp_path / f"{n}.html", explanation=EXPLANATION),
                range(3),
            )
        )
    assert {path.read_bytes() for path in paths} == {text.encode()}


def test_an_old_report_is_replaced_and_nothing_else_is_left(tmp_path, text):
    (tmp_path / "report.html").write_text("old")
    path = write_report(job(), tmp_path / "report.html", explanation=EXPLANATION)
    assert path.read_text() == text
    assert list(tmp_path.iterdir()) == [path]


def cells(text: str, first: str, place: int | None = None) -> list[str]:
    """Return the cells of the table row whose header is `first`, or of the one at this index of several."""
    pattern = rf'<tr[^>]*>\s*<th scope="row"[^>]*>{re.escape(first)}</th>(.*?)</tr>'
    rows = re.findall(pattern, text, re.DOTALL)
    assert place is not None or len(rows) == 1
    return re.findall(r"<td[^>]*>(.*?)</td>", rows[place or 0])


def test_the_numbers_are_those_of_the_result(text):
    # 0.06 / 0.05 and 0.06 / 0.08.
    assert cells(text, "ndcg@10") == ["0.0600", "0.0500", "0.0800", "1.200×", "0.750×"]
    assert "75.0% of what pooling all data reaches and 1.20 times what the clients reach alone" in text
    # Student's t with 2 degrees of freedom is 4.303, so the margins are 0.0086.
    assert "<b>2 of 3</b><span>clients gain beyond chance, 1 is worse off</span>" in text
    # Nine cases: 3 * 0.01 + 3 * 0.01 - 3 * 0.02 = 0.
    assert "Over all 9 test cases together NDCG@10 changes by <b>+0.0000</b>" in text
    assert "(95% interval), which chance can explain." in text
    assert cells(text, "silo-2", 0) == [
        "3", "40", "3", "0.0600", "0.0500", "−0.0200", "0.0020", "−0.0300", "0.0050", "local"
    ]  # fmt: skip
    # Four rounds of three updates of 1000 bytes, one of them rejected.
    assert "11.0 kB in 11 updates" in text
    assert cells(text, "updates") == ["4", "3", "1"]
    assert "norm_at_most: expected at most 2, got 7" in text
    assert cells(text, "4") == ["4", "3", "0", "0.0400", "0.0800", "0.2500", "1.0 s", "3.0 kB"]
    assert "times that" not in text
    assert "train.loss" in text


def test_drift_is_listed_from_the_farthest_client_on(text):
    section = text.split('aria-labelledby="client-drift"')[1].split("</section>")[0]
    # In the rounds that accepted it: three of four for the client that was rejected once.
    assert cells(section, "silo-2") == ["3", "0.60", "0.60", "0.50"]
    assert cells(section, "silo-0") == ["4", "0.80", "0.80", "0.50"]
    assert section.index("silo-2") < section.index("silo-1") < section.index("silo-0")
    grid = section.split("<svg")[1].split("</svg>")[0]
    # Three clients in four rounds but for one, twice.
    paths = re.findall(r'<path d="([^"]*)"[^>]*style="fill: #[^"]*stroke: #', grid)
    assert sum(path.count("z") for path in paths) == 2 * 11


def test_without_single_updates_no_drift_is_listed():
    result = job()
    rounds = tuple(replace(one, client_drift={}) for one in result.rounds)
    assert "Direction of each client’s updates" not in render_report(replace(result, rounds=rounds))


def test_a_mark_of_the_map_names_its_title_and_axes_their_share(text):
    drawn = text.split('aria-label="Items in')[1].split("</svg>")[0]
    marks = re.findall(r"<use [^>]*><title>(.*?)</title></use>", drawn)
    # Label by label, items without any label first.
    assert marks == ["&lt;Delta&gt;", "Alpha &amp; Omega", "Gamma", "Beta"]
    assert "First axis: 25.0% of the variance" in drawn
    assert "37.5% of the variance" in text
    for name in ("Drama", "Comedy", "other"):
        assert f">{name}</text>" in drawn


def test_neighbours_and_moved_items_are_shown_in_tables(text):
    (nearest,) = cells(text, "Alpha &amp; Omega")
    assert "Beta <small>0.88</small>" in nearest
    assert cells(text, "Gamma") == ["2.5000"]
    assert "In round 1" in text


def test_a_report_without_an_explanation_says_nothing_of_items():
    assert "What the model learned" not in render_report(job())


def test_a_job_that_continues_another_names_it():
    assert "Its first" not in render_report(job())
    text = render_report(job(continued=Continued("films-short-1", 2)))
    assert "Its first 2 rounds are those of job films-short-1.</p>" in text


def test_late_updates_are_listed_beside_the_rejections(text):
    assert "Late updates" not in text
    late = replace(late_update(2, "silo-2"), reason="its update abc came at most 9.0 s after it")
    text = render_report(job(late=(late,)))
    Page(text)
    assert "Round 2, silo-2: its update abc came at most 9.0 s after it." in text


def test_a_client_that_keeps_its_own_model_is_named_with_its_gain(text):
    benefit = " ".join(text.split('id="benefit"')[1].split("<figure>")[0].split())
    assert "Offered its own model: silo-2." in benefit
    # 3 * 0.01 + 3 * 0.01 + 3 * 0 over nine cases.
    assert "NDCG@10 changes by <b>+0.0067</b>" in benefit
    result = job()
    shared = tuple(replace(one, offer="global") for one in result.clients)
    assert "Every client is offered the shared model." in render_report(replace(result, clients=shared))


def test_losses_are_marked_by_text_and_shape(text):
    assert "▼ Served worse than by their own data alone, beyond chance:</span> silo-2 (−0.0200)." in text
    assert "beyond chance: silo-0 (+0.0100), silo-1 (+0.0100)." in text
    assert "▼ silo-2 (3)" in text
    assert "▼ silo-1" not in text
    benefit = text[text.index('aria-label="Benefit') :]
    assert "<pattern" in benefit[: benefit.index("</svg>")]


def test_nothing_is_claimed_that_chance_can_explain():
    wide = tuple(replace(one, benefit_se=0.01, offer="global") for one in job().clients)
    text = render_report(replace(job(), clients=wide))
    assert "<b>0 of 3</b><span>clients gain beyond chance, 0 are worse off</span>" in text
    assert "For each of the 3 clients chance can explain the difference" in text
    assert "Served better" not in text
    assert "Served worse" not in text
    assert "▼ silo" not in text
    assert 'class="bad-text">−0.0200' not in text
    benefit = text[text.index('aria-label="Benefit') :]
    assert "<pattern" not in benefit[: benefit.index("</svg>")]


def test_a_clear_loss_over_all_cases_marks_the_ratio():
    worse = tuple(replace(one, benefit=-0.02) for one in job().clients)
    assert '<td class="bad-text">1.200×</td>' in render_report(replace(job(), clients=worse))
    assert '<td class="bad-text">1.200×</td>' not in render_report(job())


def test_dark_pages_have_figures_of_their_own_colours(text):
    styles = re.findall(r'style="([^"]*)"', "".join(re.findall(r"<svg.*?</svg>", text, re.DOTALL)))
    assert len(styles) > 100
    for dark in ("#1f2933", "#d9dee3", "#9aa5b1", "#52606d", "#3e4c59", "#0072b2"):
        assert not [style for style in styles if dark in style.lower()]
    used = set(re.findall(r"var\(--(\w+)\)", "".join(styles)))
    assert {"ink", "line", "edge", "blue", "panel"} <= used
    defined = text.split("@media (prefers-color-scheme: dark)")
    for part in (defined[0], defined[1]):
        assert used <= set(re.findall(r"--(\w+): #", part.split("* {")[0]))


def test_plots_show_validation_and_never_the_test_split():
    final = FinalMetrics(federated={**dict.fromkeys(METRICS, 0.06), "ndcg@10": 0.4321})
    convergence = render_report(job(final=final)).split('aria-label="Validation')[1].split("</svg>")[0]
    assert "0.0400" in convergence  # the last validation NDCG@10
    assert "0.4321" not in convergence


def test_names_from_outside_cannot_become_markup():
    result = job()
    evil = "<script>alert(1)</script>$x$&"
    rounds = list(result.rounds)
    rounds[1] = replace(rounds[1], rejected=(rejection(evil, '"><img src=x>'),))
    result = replace(
        result,
        clients=(replace(result.clients[0], client_id=evil), *result.clients[1:]),
        rounds=tuple(rounds),
        config={"data": {"dir": "</code><script>"}},
    )
    page = Page(render_report(result, open_next=["<script> `<img>`"]))
    assert not page.all("script")
    assert not page.all("img")


def test_a_job_without_baselines_says_so():
    final = FinalMetrics(federated=dict.fromkeys(METRICS, 0.06))
    clients = tuple(replace(one, silo_only=None, benefit=None, benefit_se=None) for one in job().clients)
    text = render_report(replace(job(), final=final, clients=clients))
    Page(text)
    assert cells(text, "ndcg@10") == ["0.0600"]
    assert "entralised" not in text.split("The configuration")[0].split("<main>")[1]
    assert "pooled the clients" not in text
    assert 'aria-label="Benefit' not in text


SECURE = {"privacy": {"secure_sum": True}}


def test_a_published_comparison_is_not_that_of_the_whole_federation():
    """One of three silos published. The sums tell what joining changes for all, and what was trained on."""
    (one,) = job(clients=1).clients
    facts = DataFacts("cd" * 32, 3, None, 50, None, trained_users=120, trained_interactions=1560)
    own = replace(one, users=None, interactions=None, benefit=0.0339, offer="global")
    result = job(config=SECURE, data=facts, benefit=Benefit(0.0051, 0.001, 120))
    text = render_report(replace(result, clients=(own,)))
    Page(text)
    found = " ".join(text.split('id="benefit"')[1].split("<figure>")[0].split())
    assert "Over all 120 test cases together NDCG@10 changes by <b>+0.0051</b>" in found
    assert "1 of 3 silos published its comparison. Of its 3 cases: NDCG@10 changes by <b>+0.0339</b>" in found
    assert "Each of them is offered" in found
    assert "1 of 1</b><span>published comparisons show a gain" in text
    assert cells(text, own.client_id, 0)[:2] == ["not told", "not told"]
    head = " ".join(text.split("<main>")[0].split("</style>")[1].split())
    assert "trained on 1 560 interactions of 120 users, without the held-out ones." in head
    # The rounds show the others, which published nothing.
    assert "silo-1" in text.split('id="rounds"')[1]


def test_sums_tell_the_benefit_of_all_if_no_silo_published_its_own():
    unknown = job(config=SECURE, data=DataFacts("c" * 64, 3, None, 50, None))
    assert 'id="benefit"' not in render_report(replace(unknown, clients=()))
    known = job(config=SECURE, benefit=Benefit(0.0051, 0.001, 120))
    found = render_report(replace(known, clients=())).split('id="benefit"')[1]
    assert "<b>+0.0051</b>" in found
    assert "No silo published its own comparison." in found


def test_numbers_that_nobody_told_are_not_shown_as_zeros():
    facts = DataFacts("c" * 64, 3, None, 50, None)
    text = render_report(job_result(status="stopped", stop_reason="quorum", config=SECURE, data=facts))
    head = text.split("<main>")[0].split("</style>")[1]
    assert "3 clients, 50 items." in head


def test_a_job_that_stopped_before_its_first_round_still_has_a_report():
    text = render_report(job_result(status="stopped", stop_reason="quorum of 2 not reached"))
    assert "The job stopped: quorum of 2 not reached." in text
    assert len(Page(text).all("svg")) == 1
    assert "No contract was checked." in text


@pytest.mark.filterwarnings("error")
def test_measurements_that_are_lost_have_no_column_and_no_plot():
    result = job()
    rounds = tuple(replace(one, version=None, seconds={}, drift=None, metrics={}) for one in result.rounds)
    text = render_report(replace(result, rounds=rounds))
    labels = [attrs["aria-label"] for attrs in Page(text).all("svg")]
    assert not [label for label in labels if label.startswith(("Validation", "Seconds"))]
    assert len(labels) == 5
    assert cells(text, "4") == ["3", "0", "3.0 kB"]
    assert "–" not in re.findall(r"<td[^>]*>(.*?)</td>", text)
    # One value of many is still worth its column.
    rounds = (*rounds[:-1], replace(rounds[-1], version=7))
    text = render_report(replace(result, rounds=rounds))
    assert cells(text, "4") == ["7", "3", "0", "3.0 kB"]
    assert cells(text, "3") == ["–", "3", "0", "3.0 kB"]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("drift", [0.0, None, 0.5])
def test_values_without_a_logarithm_give_no_warning(drift):
    rounds = tuple(replace(one, drift=drift, metrics={}, update_bytes=0) for one in job().rounds)
    page = Page(render_report(replace(job(), rounds=rounds)))
    labels = [attrs["aria-label"] for attrs in page.all("svg")]
    assert ("Validation metrics and drift by round" in labels) == (drift == 0.5)
    assert "Bytes of updates by round" not in labels


def test_of_many_clients_and_rounds_the_first_and_last_are_shown():
    text = render_report(job(clients=60, rounds=70))
    Page(text)
    assert "the 20 best and the 20 worst of 60 clients" in text
    assert "The last 60 rounds." in text
    assert "Only clients with a rejection are listed." in text
    benefit = text.split('aria-label="Benefit')[1].split("</svg>")[0]
    assert "silo-0 (3)" in benefit
    assert "▼ silo-59 (3)" in benefit
    assert len(re.findall(r"silo-\d+ \(3\)", re.sub(r"<!--.*?-->", "", benefit))) == 40


def test_the_report_shows_the_next_steps_with_their_commands():
    assert "<code>x --y</code>" in render_report(job(), open_next=["Look at `x --y`"])
