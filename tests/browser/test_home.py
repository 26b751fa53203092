"""The home page in a real browser, served by the UI's own process on the session's engines."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from pim_platform.intake.workspace import Workspace
from pim_platform.local.parts import environment
from pim_platform.storage.endpoints import Endpoints

_START_SECONDS = 60
_WAIT_MS = 30_000
_QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def address(workspace: Workspace) -> Iterator[str]:
    """The address of a UI process."""
    url = f"http://127.0.0.1:{Endpoints.of(workspace.settings).ports.ui}"
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PIM_", "PYTEST_"))}
    process = subprocess.Popen(
        [sys.executable, "-m", "pim_platform.ui.main"], env=variables | environment(workspace.settings)
    )
    try:
        deadline = time.monotonic() + _START_SECONDS
        while True:
            assert process.poll() is None, "the UI's process ended"
            assert time.monotonic() < deadline, "the UI's process does not answer"
            try:
                httpx.get(url, trust_env=False).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.2)
        yield url
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium is installed; on Debian: apt-get install chromium")
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=_QUIET)
        try:
            yield launched
        finally:
            launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with no history."""
    made = browser.new_page(viewport={"width": 1280, "height": 1000})
    made.set_default_timeout(_WAIT_MS)
    yield made
    made.close()


def test_the_home_page(address: str, page: Page, workspace: Workspace, tmp_path: Path) -> None:
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    page.get_by_text("answers", exact=True).nth(1).wait_for()

    assert page.title() == "PIM Platform"
    assert page.locator("html").get_attribute("lang") == "en-US"
    assert page.get_by_role("heading", level=1).all_inner_texts() == ["PIM Platform"]
    for landmark in ("banner", "main", "navigation"):
        assert page.get_by_role(landmark).count() == 1, landmark  # type: ignore[arg-type]
    assert page.get_by_role("status").inner_text().split("\n") == ["PostgreSQL", "answers", "ClickHouse", "answers"]
    ports = Endpoints.of(workspace.settings).ports
    links = {
        link.inner_text(): link.get_attribute("href")
        for link in page.get_by_role("navigation").get_by_role("link").all()
    }
    assert links["API reference"] == f"http://127.0.0.1:{ports.api}/docs"
    assert links["Dagster"] == f"http://127.0.0.1:{ports.dagster}/"
    assert "pim key create" in page.get_by_role("main").inner_text()

    assert not errors
    outside = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert not outside, "the page works with no network"
    page.screenshot(path=tmp_path / "home.png", full_page=True)


def test_the_first_tab_stop_leads_past_the_links(address: str, page: Page) -> None:
    page.goto(address)
    page.get_by_text("answers", exact=True).nth(1).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "To the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "content"


def test_texts_have_contrast(address: str, page: Page) -> None:
    """WCAG 2.2 AA: 4.5 to 1 for every visible text, against the nearest background behind it."""
    page.goto(address)
    page.get_by_text("answers", exact=True).nth(1).wait_for()
    assert page.evaluate(_CONTRAST) == []


_CONTRAST = """() => {
  const parse = c => c.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const colour = parse(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const low = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const text = walk.currentNode.textContent.trim(), element = walk.currentNode.parentElement;
    if (!text || !element.checkVisibility() || ['SCRIPT', 'STYLE', 'NOSCRIPT'].includes(element.tagName)) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < 4.5) low.push([text, ratio]);
  }
  return low;
}"""
