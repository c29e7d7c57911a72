"""Measure how fast the dashboard answers with 100,000 tasks in the database, over HTTP, on both databases."""

from __future__ import annotations

import http.client
import re
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from urllib.parse import urlencode

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.filled_database import FilledDatabase, fill
from benchmarks.load import percentile
from benchmarks.processes import cpu_s
from benchmarks.targets import watched_target
from tests.support.postgres import running

GOAL_MS = 100.0
"""The p95 goal for gallery and chain pages."""

RULES = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0 and 'heron' in task.prompt"
press = "U*"
"""

_MORE = re.compile(r'[?&;]before=([^"&]+)')

Get = Callable[[str], str]
"""Returns the page at a path."""


class PageTiming(msgspec.Struct, frozen=True, kw_only=True):
    """The time of a page in milliseconds, the server's CPU time for it, and its size."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    kilobytes: float


def measure(*, tasks: int, requests: int) -> None:
    """Fill each database, start a server without a worker, and request every page this many times."""
    results: dict[str, dict[str, PageTiming]] = {}
    with tempfile.TemporaryDirectory() as work, running() as server:
        for name, url in (("SQLite", f"sqlite:///{work}/hookchain.db"), ("PostgreSQL", server.url)):
            database = fill(url, tasks)
            results[name] = time_pages(Path(work), url, database, requests)
    show(
        results,
        f"dashboard pages with {tasks:,} tasks, {requests} requests each; ms at the client, and of the server's CPU",
    )


def time_pages(directory: Path, url: str, database: FilledDatabase, requests: int) -> dict[str, PageTiming]:
    """Measure each page on a database."""
    (directory / "hookchain.toml").write_text(RULES)
    with watched_target(directory, database_url=url, options=("--no-worker",)) as (port, process_id):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def get(path: str) -> str:
            headers = {"hx-request": "true"} if path.startswith("/panel/") else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status != 200:
                raise SystemExit(f"{path} was answered {answer.status}")
            return body

        return {name: _timed(get, path, requests, process_id) for name, path in _paths(get, database).items()}


def _paths(get: Get, database: FilledDatabase) -> dict[str, str]:
    """The paths to measure, by the name of the page."""
    now = datetime.now(UTC).date()
    month = {"since": str(now - timedelta(days=40)), "until": str(now - timedelta(days=30))}
    filters = {f"gallery, {one}": {"status": one} for one in ("active", "attention", "failed", "done")}
    filters |= {
        "gallery, of an upstream": {"upstream": "main"},
        "gallery, of a rule": {"rule": "rule:upscale"},
        "gallery, of a rule that never fired": {"rule": "rule:other"},
        "gallery, text in every sixth": {"text": "heron"},
        "gallery, text without a match": {"text": "an elephant"},
        "gallery, text without a match, status": {"text": "an elephant", "status": "done"},
        "gallery, ten days a month ago": month,
        "gallery, ten days, text, status": month | {"text": "heron", "status": "failed"},
    }
    return {
        "a file (this machine's floor)": "/static/icon.svg",
        "gallery": "/",
        "gallery, 20th page": f"/?before={_cursor(get, 19)}",
        **{name: f"/?{urlencode(one)}" for name, one in filters.items()},
        "chain": f"/chains/{database.chain}",
        "chain, a task looked at": f"/chains/{database.chain}?task={database.task}",
        "chain of 200 tasks": f"/chains/{database.large}",
        "panel of a task": f"/panel/main/{database.task}",
        "timeline of a task": f"/tasks/main/{database.task}",
        "operations": "/operations",
        "operations, 7 days": "/operations?span=7d",
        "rules": "/rules",
        "set-up": "/setup",
    }


def _cursor(get: Get, pages: int) -> str:
    """The cursor of the gallery page after this many pages."""
    page, before = get("/"), ""
    for _ in range(pages):
        following = _MORE.search(unescape(page))
        if following is None:
            # A short run has fewer pages.
            break
        before = following[1]
        page = get(f"/?before={before}")
    return before


def _timed(get: Get, path: str, requests: int, process_id: int) -> PageTiming:
    # Not measured: what the process does only once.
    body = get(path)
    times, before_s = [], cpu_s(process_id)
    for _ in range(requests):
        began = time.perf_counter()
        get(path)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return PageTiming(
        p50_ms=percentile(times, 0.5),
        p95_ms=percentile(times, 0.95),
        cpu_ms=1000 * (cpu_s(process_id) - before_s) / requests,
        kilobytes=len(body.encode()) / 1000,
    )


def show(results: dict[str, dict[str, PageTiming]], title: str) -> None:
    """Print the table, and highlight pages that miss the goal."""
    table, slow = Table(title=title), []
    table.add_column("page")
    for name in results:
        for heading in ("p50", "p95", "CPU"):
            table.add_column(f"{name}\n{heading}", justify="right")
    table.add_column("kB", justify="right")
    for page in next(iter(results.values())):
        cells = []
        for name, timings in results.items():
            timing, is_slow = timings[page], timings[page].p95_ms > GOAL_MS
            cells += [
                f"{timing.p50_ms:.1f}",
                f"[bold red]{timing.p95_ms:.1f} !![/]" if is_slow else f"{timing.p95_ms:.1f}",
            ]
            cells.append(f"{timing.cpu_ms:.0f}")
            slow += [f"{page} on {name}"] if is_slow else []
        table.add_row(page, *cells, f"{timing.kilobytes:.0f}")
    console = Console(width=110)
    console.print(table)
    verdict = f"[bold red]MISSED BY {', '.join(slow)}[/]" if slow else "met by all pages"
    console.print(f"goal: gallery and chain pages p95 below {GOAL_MS:.0f} ms; {verdict}\n")
