"""A real Chromium at a desk and on a phone, a real server, and an upstream that can be asked what it got.

All tests of a worker share one browser, one server and one upstream; each has a context of its own, and a word of its own
for its prompts. They are coroutines of one loop, which lives as long as the browser.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, async_playwright, expect

from tests.browser.parts import ARGUMENTS, SCREENS, TOML, Site, Watch, find_chromium
from tests.browser.upstream import Upstream
from tests.conftest import PATIENCE_S, HookchainServer

PATIENCE_MS = 1000 * PATIENCE_S

NewContext = Callable[..., Awaitable[BrowserContext]]

expect.set_options(timeout=PATIENCE_MS)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def chromium() -> AsyncIterator[Browser]:
    """The browser."""
    executable = find_chromium()
    if not executable:
        why = "no Chromium is found: install Debian's `chromium`, or let CHROMIUM name one"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest.fixture(scope="session")
def shared_site(tmp_path_factory: pytest.TempPathFactory, new_file: Path) -> Iterator[Site]:
    """Started once: each start costs a second."""
    directory = tmp_path_factory.mktemp("site")
    shutil.copy(new_file, directory / "hookchain.db")
    upstream = Upstream(speed=20)
    (directory / "hookchain.toml").write_text(TOML.format(url=upstream.url))
    server = HookchainServer(directory, {"HOOKCHAIN_SECRET": "a test's secret"})
    yield Site(server, upstream)
    server.http.close()
    server.end()
    upstream.stop()


@pytest.fixture
def site(chromium: Browser, shared_site: Site) -> Iterator[Site]:
    """The server of all tests, which goes on whatever a test did to it."""
    yield shared_site
    shared_site.resume()


@pytest.fixture
def word() -> str:
    """One that no other test has."""
    return f"w{secrets.token_hex(4)}"


@pytest.fixture(params=SCREENS)
def screen(request: pytest.FixtureRequest) -> str:
    """At a desk, and on a phone."""
    name: str = request.param
    return name


@pytest.fixture
def watch() -> Iterator[Watch]:
    """Fails at the end of a test in which anything went wrong on a page."""
    watch = Watch()
    yield watch
    watch.check()


@pytest_asyncio.fixture(loop_scope="session")
async def new_context(chromium: Browser, watch: Watch) -> AsyncIterator[NewContext]:
    """A browser of one's own, of a size; its pages are watched."""
    opened: list[BrowserContext] = []

    async def new(screen: str, **options: Any) -> BrowserContext:
        settings = {"locale": "en-GB", "reduced_motion": "reduce"} | SCREENS[screen] | options
        context = await chromium.new_context(**settings)
        context.set_default_timeout(PATIENCE_MS)
        context.on("page", watch.on)
        opened.append(context)
        return context

    yield new
    for context in opened:
        await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def page(new_context: NewContext, site: Site, screen: str) -> Page:
    """A page of the shared server's, nowhere yet; paths are enough to go to."""
    return await (await new_context(screen, base_url=site.server.url)).new_page()
