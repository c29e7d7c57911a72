"""Logging in and out by the administrator's token."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from hooks.session import login_code
from tests.browser.parts import PHONE_IN_SOAK, Watch, press, problems
from tests.conftest import HookchainServer

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "a person's token"


@pytest.fixture(scope="module")
def locked(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory, new_file: Path
) -> Iterator[HookchainServer]:
    """A server that wants to know a token."""
    directory = tmp_path_factory.mktemp("locked")
    shutil.copy(new_file, directory / "hookchain.db")
    settings = {
        "HOOKCHAIN_SECRET": "s",
        "HOOKCHAIN_ADMIN_TOKEN": TOKEN,
        "HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9",
        "HOOKCHAIN_WORKER": "false",
    }
    server = HookchainServer(directory, settings)
    yield server
    server.http.close()
    server.end()


async def test_one_logs_in_comes_to_where_one_wanted_and_logs_out(
    locked: HookchainServer, new_context: Any, watch: Watch, screen: str
) -> None:
    """A wrong token is refused; the cookie is for this server's pages alone; afterwards nothing is shown any more."""
    watch.expected.append("401")
    context = await new_context(screen, base_url=locked.url)
    page = await context.new_page()
    await page.goto("/operations?span=24h")
    await expect(page).to_have_url(re.compile(r"/login\?next="))
    assert await problems(page) == []
    await page.get_by_label("token").fill("a guess")
    await press(page.get_by_role("button", name="Log in"))
    await expect(page.get_by_role("alert")).to_have_text("This token is wrong.")
    assert await context.cookies() == []
    await page.get_by_label("token").fill(TOKEN)
    await page.get_by_label("token").press("Enter")
    await expect(page).to_have_url(re.compile(r"/operations\?span=24h$"))
    await expect(page.get_by_role("link", name="24h")).to_have_attribute("aria-current", "true")
    (cookie,) = await context.cookies()
    assert (cookie["httpOnly"], cookie["sameSite"], cookie["path"]) == (True, "Lax", "/")
    assert await page.evaluate("document.cookie") == ""
    await press(page.get_by_role("button", name="Log out"))
    await expect(page).to_have_url(re.compile("/login$"))
    assert await context.cookies() == []
    await page.goto("/")
    await expect(page).to_have_url(re.compile("/login"))


@pytest.mark.parametrize("screen", PHONE_IN_SOAK, indirect=True)
async def test_a_session_that_has_ended_leads_to_the_login(
    locked: HookchainServer, new_context: Any, watch: Watch, screen: str
) -> None:
    """A page is open, its cookie is gone: what it sends next leads there, instead of failing in silence."""
    watch.expected.append("401")
    context = await new_context(screen, base_url=locked.url)
    page = await context.new_page()
    await page.goto("/login")
    await page.get_by_label("token").fill(TOKEN)
    async with page.expect_response(
        lambda one: "/live/" in one.url
    ):  # without the cookie this leads there too
        await press(page.get_by_role("button", name="Log in"))
    await context.clear_cookies()
    await page.get_by_label("What to imagine").fill("a cat")
    await press(page.get_by_role("button", name="Imagine"))
    await expect(page).to_have_url(re.compile("/login"))


@pytest.mark.parametrize("screen", PHONE_IN_SOAK, indirect=True)
async def test_a_link_logs_in_by_its_button(
    locked: HookchainServer, new_context: Any, watch: Watch, screen: str
) -> None:
    """Nobody who only looks at it uses it up, and a second browser is told that somebody has."""
    watch.expected.append("401")
    link = f"/login?once={login_code('s', TOKEN)}"
    for is_first in (True, False):
        context = await new_context(screen, base_url=locked.url)
        page = await context.new_page()
        await page.goto(link)
        assert await problems(page) == []
        await page.reload()
        assert await context.cookies() == []
        await press(page.get_by_role("button", name="Log in"))
        if is_first:
            await expect(page).to_have_url(f"{locked.url}/")
        else:
            await expect(page.get_by_role("alert")).to_contain_text("This link has been used")
