"""The web UI (Dooy/chatgpt-web-midjourney-proxy) in a browser: its page asks the gateway from another origin, or its own server does.

Nothing outside this machine is reached: the page's third parties are refused, and the tool that draws masks, which the page loads
from a server of its makers, is a page of ours here.
"""

from __future__ import annotations

import base64
import json
import os
import re
import struct
import subprocess
import threading
import zlib
from collections.abc import AsyncIterator, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.async_api import Page, Route, async_playwright, expect

from tests.browser.parts import ARGUMENTS, find_chromium
from tests.clients.conftest import KEY
from tests.conftest import PATIENCE_S

pytestmark = pytest.mark.process

CLIENT = "dooy"
PATIENCE_MS = 1000 * PATIENCE_S

expect.set_options(timeout=PATIENCE_MS)


def png(colour: int) -> bytes:
    """A grey picture of 64 by 64 pixels."""
    lines = b"".join(b"\0" + bytes([colour]) * 64 for _ in range(64))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 64, 64, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(lines))
        + chunk(b"IEND", b"")
    )


MASK = "data:image/png;base64," + base64.b64encode(png(255)).decode()
OWN = "http://127.0.0.1:3002"
"""The server of the page has this port, and no other."""

MASKS = f"""<!doctype html><script>
addEventListener("message", () => parent.postMessage(JSON.stringify({{mask: "{MASK}", prompt: "a hat"}}), "*"), {{once: true}})
</script>"""
"""Draws the same mask whatever it is sent."""


class Draw:
    """The page on which pictures are ordered, and what it said to whom."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.outside: set[str] = set()
        self.problems: list[str] = []
        page.on("pageerror", lambda error: self.problems.append(str(error)))

    async def open(self, url: str, server: str, *, key: str = KEY) -> None:
        """Open it; `server` is the address in its settings, "" for its own."""
        settings = {"MJ_SERVER": server, "MJ_API_SECRET": key if server else ""}
        await self.page.add_init_script(
            f"localStorage.setItem('gptServerStore', {json.dumps(json.dumps(settings))})"
        )
        await self.page.route("**/*", self._route)
        await self.page.goto(f"{url}/#/draw/index")

    async def _route(self, route: Route) -> None:
        host = route.request.url.split("/")[2].partition(":")[0]
        if "/mitf/" in route.request.url:
            await route.fulfill(body=MASKS, content_type="text/html")
        elif host in ("127.0.0.1", "localhost") or not route.request.url.startswith("http"):
            await route.continue_()
        else:
            self.outside.add(host)
            await route.abort()

    async def as_a_person(self) -> None:
        """Let the page come to rest: it overlooks what happens within 2 s of something else (`setMyData` in its homeStore.ts)."""
        await self.page.wait_for_timeout(2500)

    async def imagine(self, prompt: str) -> None:
        await self.as_a_person()
        await self.page.get_by_role("textbox").first.fill(prompt)
        await self.page.get_by_role("button", name="Generate Image").click()

    async def press(self, name: str) -> None:
        """A button below the newest picture that has one of this name."""
        await self.as_a_person()
        await self.page.get_by_role("button", name=re.compile(name)).last.click()

    async def pictures(self, count: int) -> None:
        """Wait until so many pictures are there, each read by the page itself: it keeps them as data."""
        shown = self.page.locator("main .n-image.rounded-sm img[src^='data:image']")
        await expect(shown).to_have_count(count, timeout=PATIENCE_MS)

    async def upload(self, index: int, *pictures: bytes) -> None:
        """Choose files in one of the page's fields for files."""
        await self.as_a_person()
        for number, picture in enumerate(pictures):
            file: Any = {"name": f"{number}.png", "mimeType": "image/png", "buffer": picture}
            await self.page.locator("input[type=file]").nth(index).set_input_files(file)

    async def everything(self) -> None:
        """What the page can order: a picture, U1, a strong variation, a zoom, a region, a description, a blend; and it asks for a seed."""
        await self.imagine("a cat")
        await self.pictures(1)
        await self.press("U1")
        await self.pictures(2)
        await self.press("Strong Variation")
        await self.pictures(3)
        await self.press("Custom")
        dialog = self.page.get_by_role("dialog")
        await expect(dialog.get_by_role("textbox")).to_have_value(re.compile("--zoom 1.8"))
        await dialog.get_by_role("button", name="Submit").click()
        await self.pictures(4)
        await self.press("🖌️ Redraw")
        await self.pictures(5)
        await self.upload(1, png(40))
        await self.pictures(6)
        await self.page.get_by_text("Blend Images", exact=True).first.click()
        await expect(self.page.locator("input[type=file]")).to_have_count(1)
        await self.upload(0, png(80), png(160))
        await self.press("Start Blending")
        await self.pictures(7)
        await self.page.get_by_text("Seed", exact=True).first.click()
        await expect(self.page.get_by_text(re.compile(r"^Seed:\d+$"))).to_be_visible()
        assert self.problems == []


@pytest.fixture
async def draw() -> AsyncIterator[Draw]:
    if not (executable := find_chromium()):
        pytest.skip("no Chromium is found")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable, args=ARGUMENTS)
        context = await browser.new_context(locale="en-US", viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        yield Draw(await context.new_page())
        await browser.close()


class PageOnly(SimpleHTTPRequestHandler):
    """Serves the built page, and answers its question for settings as its own server would."""

    def do_POST(self) -> None:
        told = {"status": "Success", "message": "", "data": {"auth": False, "theme": "light"}}
        body = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def built_page(folder: Path) -> Iterator[str]:
    """The address of the page alone."""
    if not (folder / "dist").is_dir():
        pytest.skip("the page is not built: npx vite build")
    server = ThreadingHTTPServer(
        ("127.0.0.1", 0), lambda *rest: PageOnly(*rest, directory=str(folder / "dist"))
    )
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE_S)


EVERYTHING = {"imagine": 1, "action": 2, "modal": 2, "describe": 1, "blend": 1}


async def test_a_page_of_another_origin(draw: Draw, built_page: str, start_place: Any) -> None:
    """All that it orders, with a key of its user's. Pictures come through us, so that it can keep them without a third party."""
    place = start_place(more='pictures = "proxy"')
    await draw.open(built_page, place.url)
    await draw.everything()
    assert not {host for host in draw.outside if "wsrv" in host}
    assert place.billed() == EVERYTHING


async def test_a_page_that_asks_its_own_server(
    draw: Draw, folder: Path, built_page: str, start_place: Any, eventually: Any
) -> None:
    """The server adds the key, and hands on what is answered."""
    if not (program := folder / "service" / "build" / "index.mjs").exists():
        pytest.skip("the server of the page is not built: npx tsup")
    place = start_place(more='pictures = "proxy"')
    environment = {"PATH": os.environ["PATH"], "MJ_SERVER": place.url, "MJ_API_SECRET": KEY}
    with subprocess.Popen(
        ["node", str(program)], cwd=folder / "service", env=environment, stdout=subprocess.DEVNULL
    ) as own:
        try:
            eventually(lambda: _answers(OWN))
            await draw.open(OWN, "")
            await draw.everything()
        finally:
            own.kill()
    assert place.billed() == EVERYTHING


async def test_what_the_page_shows_of_a_refusal(draw: Draw, built_page: str, start_place: Any) -> None:
    """Answers to a banned prompt and to a wrong key, and the reason of a failure, can be read from another origin.

    The page writes the words of an answer into its chat, and shows them with the next change of it.
    """
    place = start_place(speed="2")
    await draw.open(built_page, place.url)
    await draw.imagine("nude")
    await draw.imagine("a cat --fail")
    await expect(draw.page.get_by_text(re.compile("bannedWord"))).to_be_visible()
    await expect(draw.page.get_by_text("Failure Reason:").locator("..")).to_have_text(
        re.compile(r"Failure Reason:.{5,}", re.DOTALL)
    )
    await draw.open(built_page, place.url, key="a wrong key")
    await draw.page.reload()
    await draw.imagine("a dog")
    await draw.imagine("a bird")
    await expect(draw.page.get_by_text(re.compile("unknown key")).first).to_be_visible()
    assert place.billed() == {"imagine": 1}


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, trust_env=False).status_code < 500
    except httpx.TransportError:
        return False
