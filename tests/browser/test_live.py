"""Pages that stay true: chains grow on them, a press shows, a restart is survived, and nobody loses his place."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest
from playwright.async_api import Page, Route, expect

from tests.browser.parts import Site, Watch, has_stayed, press, shown, stays

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_a_chain_grows_on_the_gallery_and_on_its_own_page(page: Page, site: Site, word: str) -> None:
    """From the prompt box to four upscales with their pictures; neither page is loaded anew."""
    await page.goto("/")
    await stays(page)
    await page.get_by_label("What to imagine").fill(f"a lighthouse, {word}")
    await press(page.get_by_role("button", name="Imagine"))
    card = page.locator(".card", has_text=word)
    await expect(card).to_have_count(1)
    await expect(page.get_by_label("What to imagine")).to_have_value("")
    await expect(card.locator(".strip img")).to_have_count(4)
    await expect(card.locator(".badge")).to_have_text("done")
    await shown(card.locator("img"))
    assert await has_stayed(page)

    site.pause()
    chain_id = site.submit(f"a harbour, {word}")
    await press(page.locator(".card", has_text=f"a harbour, {word}").locator("a.cover"))
    await expect(page).to_have_url(re.compile(f"/chains/{chain_id}$"))
    await expect(page.locator(".node .badge")).to_have_text("waiting to be sent")
    await stays(page)
    site.resume()
    await expect(page.locator(".tree ul .node.success img")).to_have_count(4)
    await expect(page.locator("#chain > header .badge")).to_have_text("done")
    await expect(page.locator(".edge b")).to_have_text(["U1", "U2", "U3", "U4"])
    await expect(page.get_by_text("4 / ")).to_be_visible()
    await shown(page.locator(".tree img"))
    assert await has_stayed(page)


async def test_buttons_that_are_pressed_quickly_are_all_pressed(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """Before the answer to the first is there; once each."""
    chain_id = site.submit(f"alone, {word}")
    (grid,) = eventually(lambda: site.ended(chain_id))
    await page.goto(f"/chains/{chain_id}?task={grid}")
    await stays(page)
    asked: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    await page.route("**/press/**", lambda route: asked.set_result(route), times=1)
    await press(page.get_by_role("button", name="U1", exact=True))
    held = await asked
    for name in ("U2", "U3", "U4"):
        await press(page.get_by_role("button", name=name, exact=True))
    await held.continue_()
    await expect(page.locator(".tree ul .node.success")).to_have_count(4)
    assert len(site.upstream.accepted(grid)) == 4


async def test_a_button_that_is_pressed_twice_is_paid_once(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """Double-clicked, then once more after its panel said so: one submission in the upstream's ledger."""
    chain_id = site.submit(f"alone, {word}")
    (grid,) = eventually(lambda: site.ended(chain_id))
    await page.goto(f"/chains/{chain_id}")
    await stays(page)
    await press(page.locator(".node"))
    button = page.get_by_role("button", name="U2", exact=True)
    await button.dblclick()
    await expect(page.locator(".tree ul .node.success")).to_have_count(1)
    await expect(button).to_have_attribute("aria-pressed", "true")
    async with page.expect_response("**/press/**"):
        await press(button)
    await expect(page.get_by_role("status")).to_contain_text("pressed before")
    await press(page.get_by_role("button", name="U3", exact=True))
    await expect(page.locator(".tree ul .node.success")).to_have_count(2)
    pressed = sorted(one["customId"].split("::")[3] for one in site.upstream.accepted(grid))
    assert pressed == ["2", "3"]
    assert await has_stayed(page)


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_a_press_counts_when_the_panel_is_brought_anew_under_it(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """The mouse goes down, what is known of the task comes again, and the mouse goes up."""
    chain_id = site.submit(f"alone, {word}")
    (grid,) = eventually(lambda: site.ended(chain_id))
    await page.goto(f"/chains/{chain_id}?task={grid}")
    await page.get_by_role("button", name="U2", exact=True).hover()
    await page.mouse.down()
    await page.evaluate(
        """() => new Promise(resolve => {
            document.getElementById("panel").addEventListener("htmx:after:swap", resolve, { once: true });
            htmx.trigger("#selected-task", "refresh");
        })"""
    )
    await page.mouse.up()
    await expect(page.locator(".tree ul .node.success")).to_have_count(1)
    assert [one["customId"].split("::")[3] for one in site.upstream.accepted(grid)] == ["2"]


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_what_has_the_focus_keeps_it_while_the_tree_grows(
    page: Page, site: Site, word: str, eventually: Any
) -> None:
    """A node in the tree; then a half-written answer in the panel, which is not written over."""
    chain_id = site.submit(f"alone, {word}")
    (grid,) = eventually(lambda: site.ended(chain_id))
    await page.goto(f"/chains/{chain_id}?task={grid}")
    node = page.locator(".tree > li > .node")
    await node.focus()
    await page.evaluate("window.held = document.activeElement")
    site.press(grid, "U1")
    await expect(page.locator(".tree ul .node.success")).to_have_count(1)
    assert await page.evaluate("document.activeElement === held && held.isConnected && held.matches('.node')")
    (upscaled,) = set(eventually(lambda: site.ended(chain_id)[1:]))
    site.press(upscaled, "custom_zoom")
    await page.locator(".node.modal").press("Enter")
    answer = page.get_by_label("Prompt")
    await answer.fill("half an answ")
    site.press(grid, "U4")
    await expect(page.locator(".tree .node.success")).to_have_count(3)
    await expect(answer).to_be_focused()
    await expect(answer).to_have_value("half an answ")


async def test_pages_go_on_when_the_server_was_killed_and_is_back(
    start_server: Any, new_context: Any, watch: Watch
) -> None:
    """kill -9, and a start on the same port and file: by Last-Event-ID, without being loaded anew.

    The list of what is still to be set up turns green at the first callback meanwhile.
    """
    settings = {"HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9", "HOOKCHAIN_WORKER": "false"}
    first = start_server(**settings)
    port = first.url.rpartition(":")[2]
    pages = []
    for screen in ("desk", "phone"):
        context = await new_context(screen, base_url=first.url)
        gallery, setup = await context.new_page(), await context.new_page()
        await gallery.goto("/")
        await setup.goto("/setup")
        await expect(setup.locator(".checks .open", has_text="No callback has arrived yet")).to_be_visible()
        pages.append((gallery, setup))
    called(first, "the first")
    for gallery, setup in pages:
        await expect(setup.locator(".checks .good", has_text="Callbacks have arrived from")).to_be_visible()
        await expect(gallery.locator(".card", has_text="the first")).to_have_count(1)
        await stays(gallery)
    watch.expected += ["ERR_", "SSE", "sse", "reconnect"]
    first.kill()
    for gallery, _ in pages:
        await expect(gallery.locator("body.away")).to_have_count(1)
    again = start_server(command=["-m", "hookchain", "serve", "--port", port], **settings)
    called(again, "the second")
    for gallery, _ in pages:
        await expect(gallery.locator(".card", has_text="the second")).to_have_count(1)
        await expect(gallery.locator(".card", has_text="the first")).to_have_count(1)
        await expect(gallery.locator("body.away")).to_have_count(0)
        assert await has_stayed(gallery)


def called(server: Any, prompt: str) -> None:
    body = {"id": prompt, "action": "IMAGINE", "status": "FAILURE", "prompt": prompt, "failReason": "none"}
    assert server.http.post(server.hook, content=json.dumps(body)).status_code == 200


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_a_page_is_live_however_late_its_scripts_come(page: Page, site: Site, word: str) -> None:
    """The part of htmx that keeps pages live comes long after htmx itself."""

    async def late(route: Route) -> None:
        await asyncio.sleep(0.2)
        await route.continue_()

    await page.route("**/hx-sse*", late)
    await page.goto("/")
    site.submit(f"alone, {word}")
    await expect(page.locator(".card", has_text=word)).to_have_count(1)


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_a_page_becomes_live_though_its_first_connection_failed(
    page: Page, watch: Watch, site: Site, word: str
) -> None:
    """Once nobody answers, once the server is too busy; then it is let through."""
    watch.expected += ["ERR_FAILED", "503", "Failed to fetch", "htmx"]
    tries = 0

    async def refuse(route: Route) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            await route.abort()
        elif tries == 2:
            await route.fulfill(status=503, body="too many pages are open")
        else:
            await route.continue_()

    await page.route("**/live/gallery*", refuse)
    await page.goto("/")
    site.submit(f"alone, {word}")
    await expect(page.locator(".card", has_text=word)).to_have_count(1)
    assert tries == 3
    await expect(page.locator("body.away")).to_have_count(0)
