"""The gateway's clients and their tickets on pages: live, for everybody, and with what went wrong put right there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.parts import PHONE_IN_SOAK, Site, has_stayed, press, problems, shown, stays
from tests.support.customer import Customer, Mailbox

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Clients:
    """Two clients of the site's gateway, and a hook for them."""

    def __init__(self, site: Site) -> None:
        self.ann, self.bob = Customer(site.server.url, "ann"), Customer(site.server.url, "bob")
        self.mailbox = Mailbox()

    def stop(self) -> None:
        """End it."""
        self.ann.close()
        self.bob.close()
        self.mailbox.stop()


@pytest.fixture
def clients(site: Site) -> Iterator[Clients]:
    """Until the end of the test."""
    clients = Clients(site)
    yield clients
    clients.stop()


def row(page: Page, ticket: str) -> Locator:
    """A ticket in a client's list."""
    return page.locator(f"#ticket-{ticket}")


async def test_pages_of_clients_can_be_used_by_everybody(
    page: Page, site: Site, clients: Clients, word: str, eventually: Any
) -> None:
    """With a message that was given up, an open window, a picture that a rule was first to ask for, and a refusal."""
    clients.mailbox.answers = lambda _message: 410
    ann = clients.ann
    grid = ann.imagine(f"a town by the sea, {word}", notifyHook=clients.mailbox.url)
    eventually(lambda: ann.has_ended(grid))
    upscaled = ann.ticket("action", taskId=grid, customId=ann.button(grid, "U1"))
    eventually(lambda: ann.has_ended(upscaled))
    window = ann.window(upscaled, "Custom Zoom")
    await page.goto(f"/tickets/{grid}")
    await page.get_by_role("link", name="Its chain").click()
    await expect(page.locator("#chain").get_by_role("link", name="ann")).to_be_visible()
    chain = page.url
    await expect(page.locator("#panel").get_by_role("link", name=f"ticket {grid}")).to_be_visible()
    found = {}
    for path in (
        "/clients",
        "/clients/ann",
        "/clients/ann?state=window",
        "/clients/bob?state=failed",
        f"/tickets/{grid}",
        f"/tickets/{upscaled}",
        f"/tickets/{window}",
        chain,
        "/operations",
    ):
        await page.goto(path)
        await page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        found[path] = await problems(page)
    assert {path: told for path, told in found.items() if told} == {}


async def test_an_order_comes_to_the_page_of_its_client_and_ends_there(
    page: Page, site: Site, clients: Clients, word: str
) -> None:
    """At the top, without a reload, from waiting to done; and the page of all clients counts it."""
    await page.goto("/clients/ann")
    all_clients = await page.context.new_page()
    await all_clients.goto("/clients")
    before = int((await all_clients.locator("#client-ann dd").nth(1).inner_text()).split(";")[0])
    for one in (page, all_clients):
        await stays(one)
    await page.bring_to_front()
    site.pause()
    ticket = clients.ann.imagine(f"alone, {word}")
    await expect(row(page, ticket)).to_contain_text(word)
    await expect(page.locator("#ticket-list > li").first).to_have_attribute("id", f"ticket-{ticket}")
    await expect(row(page, ticket).locator(".badge")).to_have_text("waiting")
    await all_clients.bring_to_front()
    await expect(all_clients.locator("#client-ann a[href$='state=open']")).to_have_text(str(before + 1))
    await page.bring_to_front()
    site.resume()
    await expect(row(page, ticket).locator(".badge").first).to_have_text("done")
    assert await has_stayed(page)
    assert await has_stayed(all_clients)
    await row(page, ticket).get_by_role("link").focus()
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(f"/tickets/{ticket}$"))
    await shown(page.locator(".aside img"))


async def test_a_filtered_list_loses_what_does_not_match_any_more(
    page: Page, site: Site, clients: Clients, word: str
) -> None:
    """A ticket leaves the open ones when it ends."""
    site.pause()
    ticket = clients.ann.imagine(f"alone, {word}")
    await page.goto("/clients/ann")
    await press(page.get_by_role("navigation", name="Filter").get_by_role("link", name="open", exact=True))
    await expect(row(page, ticket)).to_have_count(1)
    await page.wait_for_load_state()
    await stays(page)
    site.resume()
    await expect(row(page, ticket)).to_have_count(0)
    assert await has_stayed(page)


async def test_a_message_that_was_given_up_is_told_again_from_its_tickets_page(
    page: Page, site: Site, clients: Clients, word: str, eventually: Any
) -> None:
    """The hook says that it is gone, then comes back: a person retries, the end is told, and the page says so by itself."""
    clients.mailbox.answers = lambda _message: 410
    ticket = clients.ann.imagine(f"alone, {word}", notifyHook=f"{clients.mailbox.url}?token=hooktoken")
    eventually(lambda: clients.ann.has_ended(ticket))
    await page.goto(f"/tickets/{ticket}")
    await expect(page.get_by_text("hook: failed", exact=True)).to_be_visible()
    await page.wait_for_load_state()
    await stays(page)
    clients.mailbox.answers = lambda _message: 200
    await press(page.get_by_role("button", name="Retry"))
    await expect(page.get_by_text("hook: delivered", exact=True)).to_be_visible()
    await expect(page.get_by_text("HTTP 200", exact=True)).to_be_visible()
    assert await has_stayed(page)
    assert [one.task["status"] for one in clients.mailbox.about(ticket)] == ["SUCCESS"]
    assert "hooktoken" not in await page.content()


async def test_older_tickets_follow_when_they_are_asked_for(
    page: Page, site: Site, clients: Clients, word: str, eventually: Any
) -> None:
    """Windows that the gateway opened itself: more than a page of them."""
    bob = clients.bob
    grid = bob.imagine(f"alone, {word}")
    eventually(lambda: bob.has_ended(grid))
    upscaled = bob.ticket("action", taskId=grid, customId=bob.button(grid, "U1"))
    eventually(lambda: bob.has_ended(upscaled))
    windows = [bob.window(upscaled, "Custom Zoom") for _ in range(53)]
    await page.goto("/clients/bob?state=window")
    await page.wait_for_load_state()
    await stays(page)
    rows = page.locator("#ticket-list > li[id^=ticket-]")
    await expect(rows).to_have_count(50)
    await expect(rows.first).to_have_attribute("id", f"ticket-{windows[-1]}")
    await press(page.get_by_role("link", name="Show older"))
    await expect(row(page, windows[0])).to_be_visible()
    assert await has_stayed(page)
    site.pause()
    newest = bob.imagine(f"alone, {word} again")
    await page.goto("/clients/bob")
    await expect(rows.first).to_have_attribute("id", f"ticket-{newest}")


@pytest.mark.parametrize("screen", PHONE_IN_SOAK, indirect=True)
async def test_pages_of_clients_are_chinese_for_whoever_asks_for_it(
    new_context: Any, site: Site, clients: Clients, word: str, screen: str
) -> None:
    """No English sentence is left on them: only names, ids, and what was ordered."""
    site.pause()
    ticket = clients.ann.imagine(f"alone, {word}", notifyHook=clients.mailbox.url)
    context = await new_context(screen, base_url=site.server.url, locale="zh-CN")
    page = await context.new_page()
    for path in ("/clients", "/clients/ann", f"/tickets/{ticket}"):
        await page.goto(path)
        await expect(page.locator("html")).to_have_attribute("lang", "zh-CN")
        labels = await page.locator(
            "main h2, main dt, main nav a, main button, main .badge"
        ).all_inner_texts()
        english = [one for one in labels if re.search("[a-z]{4}", one)]
        assert english == []
