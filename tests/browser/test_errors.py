"""What goes wrong is said on the page, whoever answered."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.parts import Site, Watch, press, stays

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOLD = re.compile("The server does not respond|That did not work")


async def test_what_another_tab_has_dropped_is_told(page: Page, site: Site, watch: Watch) -> None:
    """A button of Operations selects a part of the page that comes back; an error has no such part."""
    watch.expected.append("404")
    site.server.http.post(site.server.hook, content=b"no JSON")
    found = site.server.get("/api/quarantine")["quarantine"][0]
    entry = f"#body-{found['id']}"
    await page.goto("/operations")
    await stays(page)
    assert site.server.http.post(f"/api/quarantine/{found['id']}/drop").status_code == 200
    page.once("dialog", lambda dialog: dialog.accept())
    await page.locator(entry).get_by_role("button", name="Drop").press("Enter")
    await expect(page.locator("#toasts")).to_have_text("That body no longer exists")
    await expect(page.locator(entry)).to_be_visible()


@pytest.mark.parametrize("how", ["a page of a proxy", "nothing", "no answer"])
async def test_an_answer_that_is_not_ours_is_told_and_not_shown(
    page: Page, site: Site, watch: Watch, how: str
) -> None:
    watch.expected += ["502", "500", "ERR_FAILED", "Failed to fetch"]

    async def answer(route: Route) -> None:
        match how:
            case "a page of a proxy":
                body = "<html><body><h1>502 Bad Gateway</h1></body></html>"
                await route.fulfill(status=502, content_type="text/html", body=body)
            case "nothing":
                await route.fulfill(status=500, body="")
            case _:
                await route.abort()

    await page.route("**/imagine", answer)
    await page.goto("/")
    await stays(page)
    prompt = page.get_by_label("What to imagine")
    await prompt.fill("a word that is kept")
    await press(page.get_by_role("button", name="Imagine"))
    await expect(page.locator("#toasts")).to_have_text(TOLD)
    await expect(prompt).to_have_value("a word that is kept")
    await expect(page.get_by_text("Bad Gateway")).to_have_count(0)
