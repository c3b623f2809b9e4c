"""A real browser without a window, for the tests of pages."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
# A browser that asks nobody but the page that it is sent to.
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium with an empty profile of its own, or a skip where none is installed."""
    program = next((found for name in _PROGRAMS if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("Chromium is not installed; infra/install-test-servers.sh installs it.")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, headless=True, args=list(_FLAGS))
        yield started
        started.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """An empty page with cookies and storage of its own; whatever its scripts complain of fails the test."""
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    context.set_default_timeout(20_000)
    found = context.new_page()
    complaints: list[str] = []
    found.on("pageerror", lambda error: complaints.append(str(error)))
    found.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    yield found
    context.close()
    # A reply that is an error is logged, too, and some tests ask for one.
    assert [text for text in complaints if not text.startswith("Failed to load resource")] == []
