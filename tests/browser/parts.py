"""What browser tests and the pictures of the docs are made of: where Chromium is, screens, a site, gestures."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe  # type: ignore[import-untyped]  # it brings no types
from playwright.async_api import Locator, Page, expect

from tests.browser.upstream import Upstream
from tests.conftest import HookchainServer

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

SCREENS: dict[str, dict[str, Any]] = {
    "desk": {"viewport": {"width": 1280, "height": 800}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True},
}

PHONE_IN_SOAK = ["desk", pytest.param("phone", marks=pytest.mark.soak)]
"""For what is the same on both, and looked at on a phone by others."""

# Callbacks are trusted: tests of pages tell of tasks that the upstream knows nothing of.
TOML = """
[upstreams.main]
url = "{url}"
verify = "trust"
concurrency = 8
look_after_s = 0.5
settle_after_s = 3600

[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0 and 'alone' not in task.prompt"
press = "U*"

[clients.ann]
key = "ann-key-1"
hook_hosts = ["127.0.0.1"]
submissions_per_day = 100000

[clients.bob]
key = "bob-key-1"
"""


def find_chromium() -> str:
    """CHROMIUM, or the system's; "" where there is none. The headless shell is the same browser without its own windows,
    which draw all the time, and take a processor for themselves."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
    found = [os.environ.get("CHROMIUM"), *map(shutil.which, names)]
    return next((one for one in found if one and Path(one).exists()), "")


class Site:
    """A server with the rule upscale-all, but for prompts with "alone" in them, and its upstream "main"."""

    def __init__(self, server: HookchainServer, upstream: Upstream) -> None:
        self.server = server
        self.upstream = upstream

    def submit(self, prompt: str) -> str:
        """The id of the new chain."""
        made: str = self.server.submit(kind="imagine", prompt=prompt)["chain_id"]
        return made

    def chain(self, chain_id: str) -> Any:
        """A chain, as the API shows it."""
        return self.server.get(f"/api/chains/{chain_id}")

    def ended(self, chain_id: str) -> list[str]:
        """The tasks of a chain that have succeeded."""
        return [one["id"] for one in self.chain(chain_id)["tasks"] if one["status"] == "SUCCESS"]

    def press(self, task_id: str, button: str) -> None:
        """A button, through the API."""
        self.server.submit(kind="press", task_id=task_id, button=button)

    def pause(self) -> None:
        """Have the upstream asked for nothing."""
        assert self.server.http.post("/api/upstreams/main/pause").status_code == 200

    def resume(self) -> None:
        """Go on."""
        assert self.server.http.post("/api/upstreams/main/resume").status_code == 200

    def call(self, body: bytes) -> int:
        """A callback; the status that its sender gets."""
        return self.server.http.post(self.server.hook, content=body).status_code


class Watch:
    """Everything that goes wrong on pages, unless a test has said that it will: `expected` are parts of the words."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.expected: list[str] = []

    def on(self, page: Page) -> None:
        """Look at a page from now on. What a policy refuses is an error in the console."""
        page.on(
            "console", lambda one: self._note(one.type in ("error", "warning"), f"{one.type}: {one.text}")
        )
        page.on("pageerror", lambda error: self._note(True, f"page error: {error}"))
        page.on("response", lambda one: self._note(one.status >= 500, f"{one.status} from {one.url}"))

    def _note(self, is_wrong: bool, told: str) -> None:
        if is_wrong:
            self.problems.append(told)

    def check(self) -> None:
        """Fails with all of them."""
        left = [one for one in self.problems if not any(part in one for part in self.expected)]
        assert left == [], left


SERIOUS = ("serious", "critical")
ALL = {"resultTypes": ["violations"]}
CONTRAST = ALL | {"runOnly": ["color-contrast"]}
"""What can differ between colour schemes."""


async def problems(page: Page) -> list[str]:
    """What axe finds to be serious in both colour schemes, and whether the page is wider than its window."""
    found = []
    await page.evaluate(Axe().axe_script)
    for scheme, options in (("light", ALL), ("dark", CONTRAST)):
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]  # of the two
        results = await page.evaluate("options => axe.run(options)", options)
        found += [
            f"{scheme}: {one['id']}: {[node['html'][:200] for node in one['nodes'][:3]]}"
            for one in results["violations"]
            if one["impact"] in SERIOUS
        ]
    wide, window = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    width = page.viewport_size["width"] if page.viewport_size else 0
    return found + ([f"{wide} pixels wide in {window} of {width}"] if max(wide, window) > width else [])


async def stays(page: Page) -> None:
    """Mark the page: `has_stayed` tells whether it is still this one."""
    await page.evaluate("window.hasStayed = true")


async def has_stayed(page: Page) -> bool:
    """Whether it was not loaded anew since it was marked."""
    return bool(await page.evaluate("window.hasStayed === true"))


async def shown(pictures: Locator) -> None:
    """Wait until each of them is there and can be seen; Playwright's own way of waiting needs `eval`, which we forbid."""
    for picture in await pictures.all():
        await picture.scroll_into_view_if_needed()
        await expect(picture).to_have_js_property("complete", True)
        await expect(picture).not_to_have_js_property("naturalWidth", 0)


async def press(button: Locator) -> None:
    """As one does there: with a finger on a phone, else with the mouse."""
    has_touch = await button.page.evaluate("navigator.maxTouchPoints > 0")
    await (button.tap() if has_touch else button.click())


async def paint(page: Page, points: Sequence[tuple[float, float]]) -> None:
    """Draw a line through places of the window, with a finger on a phone, else with the mouse."""
    if not await page.evaluate("navigator.maxTouchPoints > 0"):
        await page.mouse.move(*points[0])
        await page.mouse.down()
        for point in points[1:]:
            await page.mouse.move(*point, steps=4)
        await page.mouse.up()
        return
    chrome = await page.context.new_cdp_session(page)
    began_s = (
        time.time() - 1
    )  # it rests before it is lifted: after a fling the next tap only stops the scrolling
    for number, (x, y) in enumerate([*points, points[-1]]):
        touch = {
            "type": "touchMove" if number else "touchStart",
            "touchPoints": [{"x": x, "y": y}],
            "timestamp": began_s + (0.02 * number if number < len(points) else 0.9),
        }
        await chrome.send("Input.dispatchTouchEvent", touch)
    await chrome.send(
        "Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": [], "timestamp": began_s + 1}
    )
    await chrome.detach()
