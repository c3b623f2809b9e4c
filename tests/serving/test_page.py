"""The page at / in a real browser: by mouse, by keyboard alone, and as a screen reader finds it."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Error, Page, Route, expect

from tasks.bundles.pointer import Pointer, Target, write_pointer
from tests.worlds.served import Server, put_bundle, serving


@pytest.fixture
def opened(page: Page, server: Server) -> Page:
    """Open the page and wait for its first recommendations."""
    open_page(page, server)
    return page


def open_page(page: Page, server: Server) -> None:
    page.goto(f"http://127.0.0.1:{server.port}/")
    expect(recommended(page)).to_have_count(10)


def search(page: Page) -> Any:
    return page.get_by_role("combobox", name="Search for a title")


def options(page: Page) -> Any:
    return page.get_by_role("listbox", name="Matching titles").get_by_role("option")


def recommended(page: Page) -> Any:
    return page.locator("#recommendations > li")


def titles(page: Page) -> list[str]:
    return [str(text) for text in page.locator("#recommendations h3").all_inner_texts()]


def choose(page: Page, query: str, title: str) -> None:
    search(page).fill(query)
    options(page).filter(has_text=title).click()
    expect(page.get_by_role("button", name=f"Remove {title}")).to_be_visible()


def recommendations_of(server: Server, *item_ids: str, **more: Any) -> list[dict[str, Any]]:
    question = {"history": [{"item_id": item_id} for item_id in item_ids], **more}
    return list(server.recommend(**question)["recommendations"])


def titles_of(answer: list[dict[str, Any]]) -> list[str]:
    return [item["title"] for item in answer]


def reason(given: dict[str, Any]) -> str:
    """Return a reason as people read it."""
    names = {"popularity": "its popularity", "other": "everything else"}
    percent = "under 1" if given["share"] < 0.01 else str(round(100 * given["share"]))
    return f"{percent} % {names.get(given['kind'], given['title'])}"


def test_it_begins_with_popular_items(opened, server):
    expect(opened.get_by_role("heading", name="Popular")).to_be_visible()
    assert titles(opened) == titles_of(recommendations_of(server))
    expect(opened.get_by_role("status")).to_have_text("10 recommendations of popular titles.")


def test_recommendations_follow_the_chosen_items_and_give_reasons(opened, server):
    choose(opened, "film 012", "Film 012, The (1912)")
    choose(opened, "film 031", "Film 031, The (1931)")

    expect(opened.get_by_role("status")).to_have_text("10 recommendations for 2 titles.")
    expect(opened.get_by_role("heading", name="For you")).to_be_visible()
    answer = recommendations_of(server, "i12", "i31")
    assert titles(opened) == titles_of(answer)
    for line, item in zip(recommended(opened).all(), answer, strict=True):
        assert line.locator(".reasons li").all_inner_texts() == [reason(each) for each in item["reasons"]]

    opened.get_by_role("button", name="Remove Film 012, The (1912)").click()
    expect(opened.get_by_role("status")).to_have_text("10 recommendations for 1 title.")
    assert titles(opened) == titles_of(recommendations_of(server, "i31"))
    opened.get_by_role("button", name="Remove all").click()
    expect(opened.get_by_role("heading", name="Popular")).to_be_visible()
    expect(opened.get_by_text("Nothing yet.")).to_be_visible()


def test_the_keyboard_alone_is_enough(opened, server):
    keyboard = opened.keyboard
    keyboard.press("Tab")
    expect(opened.get_by_role("link", name="Skip to the recommendations")).to_be_focused()
    keyboard.press("Tab")
    expect(search(opened)).to_be_focused()

    keyboard.type("film 01")
    expect(options(opened).first).to_be_visible()
    shown = options(opened).all_inner_texts()
    keyboard.press("ArrowDown")
    keyboard.press("ArrowDown")
    keyboard.press("Enter")

    chosen = shown[1].split("\n")[0]
    remove = opened.get_by_role("button", name=f"Remove {chosen}")
    expect(remove).to_be_visible()
    expect(search(opened)).to_be_focused()
    expect(search(opened)).to_have_value("")
    expect(opened.get_by_role("status")).to_have_text("10 recommendations for 1 title.")

    keyboard.press("Tab")
    expect(remove).to_be_focused()
    keyboard.press("Tab")
    expect(opened.get_by_role("button", name="Remove all")).to_be_focused()
    keyboard.press("Tab")
    expect(opened.get_by_role("slider", name="Variety")).to_be_focused()
    for _ in range(7):
        keyboard.press("ArrowRight")
    item_id = f"i{int(chosen[5:8])}"
    diverse = titles_of(recommendations_of(server, item_id, diversity=0.7))
    assert diverse != titles_of(recommendations_of(server, item_id))
    expect(opened.locator("#recommendations h3")).to_have_text(diverse)

    keyboard.press("Tab")
    expect(opened.get_by_role("button", name=f"I like {diverse[0]}")).to_be_focused()
    keyboard.press("Enter")
    expect(opened.get_by_role("status")).to_have_text("10 recommendations for 2 titles.")
    # The focused element is gone, but the focus is not back at the top of the page.
    expect(opened.locator("#recommendations")).to_be_focused()


def test_the_search_box_is_a_combobox(opened):
    box = search(opened)
    expect(box).to_have_attribute("aria-expanded", "false")
    box.press_sequentially("film 02")
    expect(box).to_have_attribute("aria-expanded", "true")
    expect(opened.get_by_role("status")).to_have_text("8 matches; choose with the arrow keys.")
    expect(options(opened)).to_have_count(8)
    expect(opened.get_by_role("option", selected=True)).to_have_count(0)

    def expect_active(place: int) -> None:
        expect(opened.get_by_role("option", selected=True)).to_have_count(1)
        expect(options(opened).nth(place)).to_have_attribute("aria-selected", "true")
        active = box.get_attribute("aria-activedescendant")
        assert options(opened).nth(place).get_attribute("id") == active

    for key, place in (("ArrowUp", 7), ("ArrowDown", 0), ("ArrowDown", 1), ("ArrowUp", 0), ("ArrowUp", 7)):
        box.press(key)
        expect_active(place)

    box.press("Escape")
    expect(box).to_have_attribute("aria-expanded", "false")
    assert box.get_attribute("aria-activedescendant") is None
    expect(box).to_have_value("film 02")
    box.press("ArrowDown")
    expect(options(opened)).to_have_count(8)
    box.press("Escape")
    box.press("Escape")
    expect(box).to_have_value("")

    box.press_sequentially("no such thing")
    expect(opened.get_by_role("status")).to_have_text("No title matches.")
    expect(box).to_have_attribute("aria-expanded", "false")


def test_a_late_reply_to_an_older_search_changes_nothing(opened):
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    opened.route(re.compile("query=film%20012"), hold)
    search(opened).fill("film 012")
    while not held:
        opened.wait_for_timeout(20)
    search(opened).fill("film 031")
    expect(options(opened)).to_have_text([re.compile("Film 031")])

    with contextlib.suppress(Error):  # the page may have given up the request
        held[0].continue_()
    opened.wait_for_timeout(300)
    expect(options(opened)).to_have_text([re.compile("Film 031")])


def test_recommended_titles_can_be_added_or_excluded(opened, server):
    choose(opened, "film 012", "Film 012, The (1912)")
    answer = recommendations_of(server, "i12")
    expect(opened.locator("#recommendations h3")).to_have_text(titles_of(answer))

    opened.get_by_role("button", name=f"{answer[0]['title']} is not for me").click()
    rest = recommendations_of(server, "i12", exclude=[answer[0]["item_id"]])
    expect(opened.locator("#recommendations h3")).to_have_text(titles_of(rest))

    opened.get_by_role("button", name=f"I like {rest[1]['title']}").click()
    both = recommendations_of(server, "i12", rest[1]["item_id"], exclude=[answer[0]["item_id"]])
    expect(opened.locator("#recommendations h3")).to_have_text(titles_of(both))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(page, server, scheme):
    page.emulate_media(color_scheme=scheme)
    open_page(page, server)
    axe = Axe()
    assert axe.run(page).generate_report().startswith("Found 0"), axe.run(page).generate_report()

    choose(page, "film 012", "Film 012, The (1912)")
    page.get_by_text("Answered by").click()
    expect(page.get_by_role("link", name="Audit record as JSON")).to_be_visible()
    search(page).fill("film 03")
    expect(options(page).first).to_be_visible()
    search(page).press("ArrowDown")
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    # axe has examined the whole page and not an empty one.
    assert len(found.response["passes"]) > 20

    page.get_by_role("link", name="Endpoints").click()
    expect(page.get_by_role("heading", name="POST /v1/recommendations", exact=True)).to_be_visible()
    page.wait_for_load_state("load")  # the heading is there before the style
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()


def test_it_fits_a_phone(page, server):
    page.set_viewport_size({"width": 360, "height": 740})
    open_page(page, server)
    choose(page, "film 012", "Film 012, The (1912)")

    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360


def test_it_contacts_only_the_service_and_stores_nothing(page, server):
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    open_page(page, server)
    choose(page, "film 012", "Film 012, The (1912)")

    origin = f"http://127.0.0.1:{server.port}/"
    assert [url for url in asked if not url.startswith(origin)] == []
    # The history travels in bodies, which are in no access log.
    assert [url for url in asked if "i12" in url] == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert page.context.cookies() == []
    _, _, response = server.ask("GET", "/")
    policy = response.getheader("content-security-policy") or ""
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


DECISION = {
    "kind": "promotion",
    "decided_by": "ada",
    "decided_at": "2026-11-21T09:00:00+00:00",
    "reason": "better for all",
    "gates": [{"gate": "quality", "passed": True, "observed": "0.42", "required": "at least 0.40"}],
    "ledger_entry": "e" * 64,
}


def test_it_names_the_version_that_answers_and_follows_a_swap(page, tmp_path):
    target = put_bundle(tmp_path, 1)
    write_pointer(tmp_path, Pointer(Target(target.bundle, target.manifest_sha256, DECISION)))
    with serving(tmp_path, tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        open_page(page, server)
        expect(page.locator("#model")).to_have_text(re.compile(r"^version 1 \(round 10, 0{12}\)$"))
        page.get_by_text("Answered by").click()
        expect(page.locator("#facts")).to_contain_text("ada, 2026-11-21T09:00:00+00:00")
        expect(page.locator("#facts")).to_contain_text("better for all")
        row = page.get_by_role("table", name="Gates that this version passed").get_by_role("row").nth(1)
        expect(row).to_have_text(re.compile(r"quality\s*at least 0.40\s*0.42"))
        assert page.get_by_role("link", name="Audit record as JSON").get_attribute("href") == "/v1/model"

        write_pointer(tmp_path, Pointer(put_bundle(tmp_path, 2)))
        server.wait_until(lambda: server.get("/v1/model")["version"] == 2)
        choose(page, "film 012", "Film 012, The (1912)")
        expect(page.locator("#model")).to_have_text(re.compile("^version 2 "))
        expect(page.locator("#facts")).to_contain_text("round 20 of job job-a")
        assert titles(page) == titles_of(recommendations_of(server, "i12"))


def test_it_names_chosen_titles_that_the_version_does_not_know(page, tmp_path):
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path, 1)))
    with serving(tmp_path, tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        open_page(page, server)
        choose(page, "film 012", "Film 012, The (1912)")
        expect(page.get_by_text("Not in this version")).to_be_hidden()

        write_pointer(tmp_path, Pointer(put_bundle(tmp_path, 2, items=12)))
        server.wait_until(lambda: server.get("/v1/model")["version"] == 2)
        choose(page, "film 003", "Film 003, The (1903)")
        left_out = page.get_by_text("Not in this version, so left out: Film 012, The (1912).")
        expect(left_out).to_be_visible()
        expect(page.get_by_role("status")).to_have_text("10 recommendations for 1 title.")
        page.get_by_role("button", name="Remove Film 012, The (1912)").click()
        expect(left_out).to_be_hidden()


def test_it_requests_a_token_if_the_service_does(page, tmp_path):
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path)))
    token = "abc-123"  # noqa: S105
    with serving(tmp_path, tmp_path / "log", token=token) as server:
        server.wait_until(server.is_ready)
        page.goto(f"http://127.0.0.1:{server.port}/")
        expect(page.get_by_role("alert")).to_contain_text("requires a bearer token")

        page.get_by_label("This service requires a token").fill(token)
        page.get_by_role("button", name="Use it").click()
        expect(recommended(page)).to_have_count(10)
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(page.get_by_label("This service requires a token")).to_be_hidden()


def test_it_waits_for_a_service_that_is_not_ready_yet(page, tmp_path):
    with serving(tmp_path, tmp_path / "log") as server:
        page.goto(f"http://127.0.0.1:{server.port}/")
        expect(page.get_by_role("alert")).to_contain_text("No model")

        write_pointer(tmp_path, Pointer(put_bundle(tmp_path)))
        expect(recommended(page)).to_have_count(10)
        expect(page.get_by_role("alert")).to_be_hidden()


def test_it_says_that_a_service_is_gone(page, tmp_path: Path):
    write_pointer(tmp_path, Pointer(put_bundle(tmp_path)))
    with serving(tmp_path, tmp_path / "log") as server:
        server.wait_until(server.is_ready)
        open_page(page, server)
    search(page).fill("film 012")

    expect(page.get_by_role("alert")).to_have_text("The service cannot be reached.")
