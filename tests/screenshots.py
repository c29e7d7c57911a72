"""Pictures of every screen for docs/, drawn from the sandbox: `python -m tests.screenshots docs/screenshots`."""

from __future__ import annotations

import io
import math
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from storage import traffic as stored
from storage.engine import write_engine
from storage.meter import Minute
from tests import screenshots_of_clients as clients
from tests.conftest import HookchainServer, Sandbox

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

PROMPTS = [
    "sailing boats at dusk, soft light --ar 3:2",
    "old harbour town in the rain, oil painting",
    "mountain lake at sunrise, mist",
    "city skyline at night, neon reflections",
    "desert dunes under two moons --ar 16:9",
    "forest path in autumn, watercolour",
    "lighthouse on a cliff, storm",
    "hot air balloons over the valley",
]

RULES = """
[upstreams.main]
url = "{sandbox}"
concurrency = 12

[upstreams.partner]
url = "{broken}"
concurrency = 1

[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"

[[rules]]
name = "vary-the-best"
on = "task.succeeded"
if = "task.image_number == 2 and 'boats' in task.prompt"
press = "vary_subtle"
"""

PLUGIN = """
from hookchain import receiver, task_failed, task_succeeded


@task_succeeded.connect_via("VARIATION")
@receiver(attempts=1)
async def tell_the_shop(action, *, task, **_):
    raise ConnectionError("the shop at 10.0.0.5 does not answer")
"""


class Broken(BaseHTTPRequestHandler):
    """An upstream that breaks down in the middle of each answer."""

    def do_POST(self) -> None:
        """Whatever is asked."""
        self.send_response(502)
        self.end_headers()

    do_GET = do_POST

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@contextmanager
def broken_upstream() -> Iterator[str]:
    """Its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def until(happened: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait for it."""
    ends_s = time.monotonic() + within_s
    while not happened():
        if time.monotonic() > ends_s:
            raise TimeoutError("the chains did not come to where the pictures want them")
        time.sleep(0.1)


def fill(server: HookchainServer) -> dict[str, str]:
    """Chains of all kinds; the addresses of those that have a picture of their own."""
    server.submit(kind="imagine", prompt="a picture that the partner may have", upstream="partner")
    made = [server.submit(kind="imagine", prompt=prompt, upstream="main") for prompt in reversed(PROMPTS)]
    boats = made[-1]["chain_id"]

    def tasks(chain_id: str) -> list[Any]:
        found: list[Any] = server.get(f"/api/chains/{chain_id}")["tasks"]
        return found

    until(lambda: len(tasks(boats)) >= 6 and all(one["status"] == "SUCCESS" for one in tasks(boats)))
    upscale = next(one for one in tasks(boats) if one["action"] == "UPSCALE")
    for label in ("Vary (Region)", "Zoom Out 2x"):
        server.submit(kind="press", task_id=upscale["id"], button=label, upstream="main")
    until(lambda: any(one["status"] == "MODAL" for one in tasks(boats)))
    until(lambda: all(one["status"] in ("SUCCESS", "MODAL") for one in tasks(boats)))
    modal = next(one for one in tasks(boats) if one["status"] == "MODAL")
    server.http.post(server.hook, content=b'{"taskId": 7, "state": "done"}')
    until(lambda: bool(server.get("/api/uncertain")["uncertain"]))
    until(lambda: bool(server.get("/api/dead-letters")["dead_letters"]))
    until(lambda: all(len(tasks(one["chain_id"])) >= 5 for one in made))
    return {
        "chain": f"/chains/{boats}?task={modal['id']}",
        "task": f"/tasks/main/{tasks(boats)[0]['id']}",
    }


def fill_charts(url: str) -> None:
    """A morning's worth of figures, so that the charts have something to show."""

    now_ms = time.time_ns() // 60_000_000_000 * 60_000
    wave = [(n, 140 + 90 * math.sin(n / 7) + 25 * math.sin(n * 1.7)) for n in range(59, 0, -1)]
    series = (("callbacks", 1, 1900), ("submissions", 0.18, 240_000), ("deliveries", 0.3, 21_000))
    minutes = [
        Minute(
            minute_ms=now_ms - n * 60_000,
            series=name,  # type: ignore[arg-type]  # one of three
            happened=int(happened * share),
            total_us=int(happened * share * took * (1.4 + math.sin(n / 5) / 2)),
            slowest_us=int(took * 6),
        )
        for n, happened in wave
        for name, share, took in series
    ]
    minutes.sort(key=lambda one: (one.minute_ms, one.series))
    with write_engine(url).begin() as connection:
        stored.add(connection, minutes)


def save(page: Page, file: Path, *, height: int | None = None) -> None:
    """A picture of the page."""
    page.wait_for_function(
        "() => [...document.images].filter(i => i.getBoundingClientRect().top < innerHeight).every(i => i.complete)"
    )
    data = page.screenshot(full_page=height is None)
    with Image.open(io.BytesIO(data)) as picture:
        picture.convert("RGB").save(file, quality=86, method=6)
    print(f"{file} {file.stat().st_size // 1024} kB")


DESK: dict[str, Any] = {"viewport": {"width": 1280, "height": 860}}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}

Shot = tuple[str, str, dict[str, Any], int | None]
"""Name, path, the browser's options, and the height of the picture; None for the whole page."""


def shots(where: dict[str, str]) -> list[Shot]:
    """The pages of a server without clients."""
    return [
        ("gallery", "/", DESK | {"color_scheme": "light"}, 860),
        ("gallery-dark", "/", DESK | {"color_scheme": "dark"}, 860),
        ("gallery-phone", "/", PHONE | {"color_scheme": "light"}, 844),
        ("chain", where["chain"], DESK | {"viewport": {"width": 1440, "height": 1180}}, 1180),
        ("chain-phone", where["chain"].partition("?")[0], PHONE | {"color_scheme": "dark"}, 844),
        ("task", where["task"], DESK, 860),
        ("operations", "/operations", DESK, None),
        ("rules", "/rules", DESK, None),
        ("setup", "/setup", DESK, 620),
    ]


def take(browser: Browser, server: HookchainServer, pages: list[Shot], into: Path) -> None:
    """All of them."""
    for name, path, options, height in pages:
        context = browser.new_context(base_url=server.url, locale="en-GB", **options)
        page = context.new_page()
        page.goto(path)
        if height is not None:
            page.set_viewport_size({"width": options["viewport"]["width"], "height": height})
        if name == "chain":
            paint(page)
        if name == "rules":
            page.click("button:has-text('Try')")
            page.wait_for_selector("#tried table")
        if name == "setup":
            page.click("button:has-text('Examine') >> nth=0")
            page.wait_for_selector("#found-1 dl")
        save(page, into / f"{name}.webp", height=height)
        context.close()


def paint(page: Page) -> None:
    """A stroke on the mask."""
    page.wait_for_selector("canvas")
    page.wait_for_function("() => document.querySelector('.easel img').complete")
    box = page.locator("canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.3, box["y"] + box["height"] * 0.35)
    page.mouse.down()
    for step in range(1, 9):
        page.mouse.move(
            box["x"] + box["width"] * (0.3 + 0.05 * step),
            box["y"] + box["height"] * (0.35 + 0.03 * (step % 3)),
        )
    page.mouse.up()


def main(into: Path) -> None:
    """Make them."""
    into.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as directory,
        broken_upstream() as broken,
        sync_playwright() as playwright,
    ):
        at = Path(directory)
        browser = playwright.chromium.launch(
            executable_path=shutil.which(os.environ.get("CHROMIUM", "chromium")), args=FLAGS
        )
        sandbox = Sandbox(at, "--speed", "6", "--seed", "11", "--concurrency", "12", "--queue", "50")
        (at / "hookchain.toml").write_text(RULES.format(sandbox=sandbox.url, broken=broken))
        (at / "plugins").mkdir()
        (at / "plugins" / "shop.py").write_text(PLUGIN)
        server = HookchainServer(at, {"DATABASE_URL": f"sqlite:///{at}/hookchain.db"})
        try:
            where = fill(server)
            fill_charts(f"sqlite:///{at}/hookchain.db")
            take(browser, server, shots(where), into)
            with clients.shop(at / "shop", sandbox.url) as (shop, ticket):
                pages: list[Shot] = [
                    ("clients", "/clients", DESK, 620),
                    ("ticket", f"/tickets/{ticket}", DESK, None),
                ]
                take(browser, shop, pages, into)
        finally:
            server.end()
            sandbox.end()
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
