"""What every screen must be: for everybody, in both colours and both sizes, in one's own language, by keyboard too."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.parts import PHONE_IN_SOAK, Site, Watch, has_stayed, press, problems, shown, stays

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_every_screen_can_be_used_by_everybody(
    page: Page, watch: Watch, site: Site, word: str, eventually: Any
) -> None:
    """Each with something of everything on it: a tree, a window with a mask, letters, a quarantined body, doubts."""
    watch.expected.append("404")
    chain_id = site.submit(f"a town by the sea, {word}")
    grid, upscaled, *_ = eventually(lambda: (found := site.ended(chain_id))[4:] and found)
    site.press(upscaled, "vary_region")
    site.submit(f"alone, refused, {word}")
    eventually(lambda: site.server.get("/api/upstreams")["upstreams"][0]["paused"])
    site.resume()  # it was paused for its key
    site.submit(f"alone, lost, {word}")
    assert site.call(f"no JSON, {word}, {'x' * 300}".encode()) == 400
    eventually(lambda: len(site.server.get("/api/dead-letters")["dead_letters"]) > 0)
    eventually(lambda: "MODAL" in [one["status"] for one in site.chain(chain_id)["tasks"]])
    (window,) = [one["id"] for one in site.chain(chain_id)["tasks"] if one["status"] == "MODAL"]
    found = {}
    for path in (
        "/",
        f"/?text={word}&status=attention",
        f"/chains/{chain_id}?task={grid}",
        f"/chains/{chain_id}?task={window}",
        f"/tasks/main/{grid}",
        "/operations",
        "/rules",
        "/setup",
        "/chains/none",
    ):
        await page.goto(path)
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        found[path] = await problems(page)
    assert {path: told for path, told in found.items() if told} == {}


async def test_the_gallery_is_filtered_and_goes_on_without_end(page: Page, site: Site, word: str) -> None:
    """Thirty of one prompt: 24 at first, the others when one scrolls down to them; by status none of them is done."""
    for number in range(30):
        body = {
            "id": f"{word}{number}",
            "action": "IMAGINE",
            "status": "FAILURE",
            "prompt": f"{word} {number}",
        }
        assert site.call(json.dumps(body | {"failReason": "none"}).encode()) == 200
    await page.goto("/")
    await press(page.locator(".filters summary"))
    await page.get_by_label("Prompt contains").fill(word)
    await press(page.get_by_role("button", name="Show", exact=True))
    cards = page.locator(".card")
    await expect(page).to_have_url(re.compile(f"text={word}"))
    await stays(page)
    await expect(cards).to_have_count(24)
    await expect(cards.first).to_contain_text(f"{word} 29")
    await page.locator("#more").scroll_into_view_if_needed()
    await expect(cards).to_have_count(30)
    await expect(page.locator("#more")).to_have_count(0)
    await expect(cards.last).to_contain_text(f"{word} 0")
    assert await has_stayed(page)
    await page.get_by_label("Status").select_option("done")
    await press(page.get_by_role("button", name="Show", exact=True))
    await expect(page.get_by_text("Nothing matches these filters.")).to_be_visible()


async def tried(page: Page, outcome: Locator) -> None:
    """Try the rules; once more where this machine was too busy to answer within their 20 s."""
    given_up = page.locator("#toasts [role=alert]")
    while not await outcome.count():
        await page.locator("#toasts").evaluate("toasts => toasts.replaceChildren()")
        await press(page.get_by_role("button", name="Try"))
        await expect(outcome.or_(given_up)).to_be_visible()


async def test_a_rule_is_tried_on_what_has_been(
    page: Page, watch: Watch, site: Site, word: str, eventually: Any
) -> None:
    """It would have pressed four buttons; a mistake in it is told with its place; nothing was sent."""
    watch.expected.append("422")
    chain_id = site.submit(f"alone, {word}")
    eventually(lambda: site.ended(chain_id))
    await page.goto("/rules")
    await stays(page)
    rules = page.get_by_label("Rules, written as in hookchain.toml")
    rule = (
        f"[[rules]]\nname = '{word}'\non = 'task.succeeded'\nif = \"'{word}' in task.prompt\"\npress = 'U*'\n"
    )
    await rules.fill(rule)
    row = page.locator("#tried tbody tr", has=page.get_by_role("rowheader", name=word))
    await tried(page, row)
    await expect(row.locator("td").first).to_have_text("4")
    await rules.fill(rule.replace("press", "pres"))
    await tried(page, page.locator("#tried [role=alert]", has_text="pres"))
    assert await has_stayed(page)
    assert len(site.chain(chain_id)["submissions"]) == 1


@pytest.mark.parametrize("screen", PHONE_IN_SOAK, indirect=True)
async def test_a_browser_that_asks_for_chinese_gets_it(new_context: Any, site: Site, screen: str) -> None:
    """The page says so, and its words are Chinese; for one that asks for German first they are English."""
    context = await new_context(screen, base_url=site.server.url, locale="zh-CN")
    page = await context.new_page()
    await page.goto("/operations")
    await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
    await expect(page.locator("h1")).to_have_text(re.compile("^[\u4e00-\u9fff]+$"))
    await expect(page.locator("nav a").first).to_have_text(re.compile("^[\u4e00-\u9fff]+$"))
    other = await (await new_context(screen, base_url=site.server.url, locale="de-DE")).new_page()
    await other.goto("/operations")
    await expect(other.locator("html")).to_have_attribute("lang", "en")


@pytest.mark.parametrize("screen", PHONE_IN_SOAK, indirect=True)
async def test_pages_are_dark_where_the_system_is(page: Page) -> None:
    """Light words on a dark ground, and the other way round."""
    await page.goto("/setup")
    for scheme, is_dark in (("dark", True), ("light", False)):
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # of the two
        colours = await page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )
        ground, words = (sum(map(int, re.findall(r"\d+", one)[:3])) for one in colours)
        assert (ground < words) is is_dark


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_all_is_done_by_keyboard_alone(page: Page, site: Site, word: str) -> None:
    """Tab to the prompt, write and Enter; to the card, the node and a button, in this order, each with Enter."""

    async def tab_to(selector: str) -> None:
        for _ in range(80):
            await page.keyboard.press("Tab")
            if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no {selector} is reached by the tabulator")

    await page.goto("/")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await tab_to("#prompt")
    await page.keyboard.type(f"alone, {word}")
    await page.keyboard.press("Enter")
    await expect(page.locator(".card", has_text=word).locator(".badge")).to_have_text("done")
    await tab_to(".card a.cover")
    await expect(page.locator(":focus")).to_contain_text(word)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/chains/"))
    await page.wait_for_load_state()
    await tab_to("a.node")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="U1", exact=True)).to_be_visible()
    await tab_to("#panel .buttons button")
    await page.keyboard.press("Enter")
    await expect(page.locator(".tree ul .node.success")).to_have_count(1)
    await shown(page.locator(".tree ul .node img"))


@pytest.mark.parametrize("screen", ["desk"], indirect=True)
async def test_a_search_says_that_it_found_nothing_when_it_has_looked_everywhere(
    page: Page, site: Site, word: str
) -> None:
    """Its last page brings no card: told where none stands, and not under those that earlier ones brought."""
    assert site.call(json.dumps({"id": word, "status": "FAILURE", "prompt": word}).encode()) == 200
    for text, cards in ((word, 1), (f"not {word}", 0)):
        await page.goto(f"/?text={text}")
        await expect(page.locator(".card")).to_have_count(cards)
        await page.evaluate(
            """address => {  // as the page of a longer history has it
                document.getElementById("nothing")?.remove();
                const gallery = document.getElementById("gallery");
                gallery.insertAdjacentHTML("beforeend", `<li class="more" id="more"><a href="${address}"
                    hx-get="${address}" hx-trigger="click" hx-target="#more" hx-swap="outerHTML">older</a></li>`);
                htmx.process(gallery);
            }""",
            f"/?text={text}&before=1-x",
        )
        await press(page.get_by_role("link", name="older"))
        await expect(page.locator("#more")).to_have_count(0)
        await expect(page.get_by_text("Nothing matches these filters.")).to_have_count(1 - cards)
        await expect(page.locator(".card")).to_have_count(cards)
