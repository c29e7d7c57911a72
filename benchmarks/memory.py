"""Measure the memory of a small instance: the server with its worker on SQLite, idle, under load, and with a page of pictures."""

from __future__ import annotations

import contextlib
import html
import http.server
import io
import json
import re
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import msgspec
import uvloop
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.load import trickle
from benchmarks.payloads import callback
from benchmarks.processes import forget_peak, peak_mb, resident_mb, until_quiet
from benchmarks.targets import HOOK, watched_target

RULE = """
[[rules]]
name = "press-one"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"
"""
RATE = 60
SIDE = 2048
"""Side of a picture in pixels, as in Midjourney's grids."""

BROWSER = 6
"""Connections that a browser opens to one server over HTTP/1.1."""


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """Resident memory in MB (10^6 bytes) after a stage, and the highest value during it."""

    stage: str
    after: float
    highest: float


class _Upstream(http.server.BaseHTTPRequestHandler):
    """Accepts every press, reports every task as finished, and serves one picture at any address."""

    protocol_version = "HTTP/1.1"
    picture = b""

    def do_GET(self) -> None:
        if self.path.startswith("/picture/"):
            self._answer(self.picture, "image/png")
        elif match := re.search(r"/task/(\w+)/fetch", self.path):
            self._answer(callback(match[1], "SUCCESS", 100))
        else:
            self._answer(b"[]")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self.path.endswith("/list-by-condition"):
            self._answer(b"[%s]" % b",".join(callback(task_id, "SUCCESS", 100) for task_id in body["ids"]))
        else:
            self._answer(b'{"code":1,"description":"ok","result":"8%s"}' % body["taskId"].encode())

    def _answer(self, body: bytes, content_type: str = "application/json") -> None:
        self.send_response(200)
        self.send_header("content-type", content_type)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Print nothing, because the table is the only output."""


def measure(*, seconds: int, pictures: int) -> None:
    """Start a server, run the stages, and print its memory."""
    with tempfile.TemporaryDirectory() as work, _upstream() as port:
        (Path(work) / "hookchain.toml").write_text(f"{RULE}\n[upstreams.main]\nverify = 'trust'\n")
        _show(_stages(Path(work), port, seconds, pictures), len(_Upstream.picture) / 1e6)


@contextlib.contextmanager
def _upstream() -> Iterator[int]:
    drawn = io.BytesIO()
    Image.merge("RGB", [Image.effect_noise((SIDE, SIDE), 20) for _ in range(3)]).save(drawn, "PNG")
    _Upstream.picture = drawn.getvalue()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Upstream) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def _stages(directory: Path, upstream_port: int, seconds: int, pictures: int) -> list[Measured]:
    with watched_target(directory, upstream_port=upstream_port) as (port, process_id):
        results: list[Measured] = []

        def done(stage: str) -> None:
            until_quiet(process_id)
            results.append(Measured(stage=stage, after=resident_mb(process_id), highest=peak_mb(process_id)))
            forget_peak(process_id)

        done("idle, just started")
        uvloop.run(trickle(port, {}, rate=RATE, count=RATE * seconds, first=0))
        done(f"{RATE} callbacks per second for {seconds} s, each with a follow-up")
        _show_gallery(port, upstream_port, pictures)
        done(f"a gallery page with {pictures} new pictures")
        return results


def _show_gallery(port: int, upstream_port: int, pictures: int) -> None:
    """Send the ends of this many upscales, open the gallery, and load its pictures as a browser does."""
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=120) as browser:
        for number in range(pictures):
            body = json.loads(callback(f"17{number:012d}", "SUCCESS", 100, action="UPSCALE"))
            body["imageUrl"] = f"http://127.0.0.1:{upstream_port}/picture/{number}.png"
            browser.post(HOOK, json=body).raise_for_status()
        page = browser.get("/").raise_for_status().text
        links = {html.unescape(link) for link in re.findall(r'src="(/images/main/17[^"]+)"', page)}
        if len(links) < pictures:
            raise SystemExit(f"the gallery shows {len(links)} pictures of {pictures}")
        with ThreadPoolExecutor(BROWSER) as connections:
            list(connections.map(lambda link: browser.get(link).raise_for_status(), links))


def _show(results: list[Measured], picture_mb: float) -> None:
    table = Table(title="memory of one server with its worker on SQLite, MB resident")
    for heading in ("", "after", "highest"):
        table.add_column(heading, justify="right" if heading else "left")
    for measured in results:
        table.add_row(measured.stage, f"{measured.after:.0f}", f"{measured.highest:.0f}")
    Console(width=110).print(table, f"each picture: {SIDE} x {SIDE} pixels, PNG of {picture_mb:.1f} MB\n")
