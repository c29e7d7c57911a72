"""How soon the dashboard's pages are answered with 100,000 tasks in the database, over HTTP, on both databases."""

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

from benchmarks.crowd import Crowd, fill
from benchmarks.load import percentile
from benchmarks.targets import cpu_s, watched_target
from tests.postgres import running

GOAL_MS = 100.0
"""Of gallery and chain pages, at the server."""

RULES = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0 and 'heron' in task.prompt"
press = "U*"
"""

_MORE = re.compile(r'[?&;]before=([^"&]+)')

Ask = Callable[[str], str]
"""A path in, the page out."""


class Taken(msgspec.Struct, frozen=True, kw_only=True):
    """What a page took, in milliseconds, of them the server's processor, and its size."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float
    kilobytes: float


def measure(*, tasks: int, requests: int) -> None:
    """Fill each database, start a server without a worker, and ask for every page so often."""
    found: dict[str, dict[str, Taken]] = {}
    with tempfile.TemporaryDirectory() as work, running() as server:
        for name, url in (("SQLite", f"sqlite:///{work}/hookchain.db"), ("PostgreSQL", server.url)):
            crowd = fill(url, tasks)
            found[name] = asked(Path(work), url, crowd, requests)
    show(
        found,
        f"pages of a dashboard over {tasks:,} tasks, {requests} requests each; ms at the client, and of the server's CPU",
    )


def asked(directory: Path, url: str, crowd: Crowd, requests: int) -> dict[str, Taken]:
    """How long each page takes."""
    (directory / "hookchain.toml").write_text(RULES)
    with watched_target(directory, database_url=url, options=("--no-worker",)) as (port, process_id):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

        def ask(path: str) -> str:
            headers = {"hx-request": "true"} if path.startswith("/panel/") else {}
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            body = answer.read().decode()
            if answer.status != 200:
                raise SystemExit(f"{path} was answered {answer.status}")
            return body

        return {name: _timed(ask, path, requests, process_id) for name, path in _paths(ask, crowd).items()}


def _paths(ask: Ask, crowd: Crowd) -> dict[str, str]:
    """The pages that are asked for, by name."""
    now = datetime.now(UTC).date()
    month = {"since": str(now - timedelta(days=40)), "until": str(now - timedelta(days=30))}
    filters = {f"gallery, {one}": {"status": one} for one in ("active", "attention", "failed", "done")}
    filters |= {
        "gallery, of an upstream": {"upstream": "main"},
        "gallery, of a rule": {"rule": "rule:upscale"},
        "gallery, of a rule that never fired": {"rule": "rule:other"},
        "gallery, text in every sixth": {"text": "heron"},
        "gallery, text found nowhere": {"text": "an elephant"},
        "gallery, text found nowhere, status": {"text": "an elephant", "status": "done"},
        "gallery, ten days a month ago": month,
        "gallery, ten days, text, status": month | {"text": "heron", "status": "failed"},
    }
    return {
        "a file (this machine's floor)": "/static/icon.svg",
        "gallery": "/",
        "gallery, 20th page": f"/?before={_cursor(ask, 19)}",
        **{name: f"/?{urlencode(one)}" for name, one in filters.items()},
        "chain": f"/chains/{crowd.chain}",
        "chain, a task looked at": f"/chains/{crowd.chain}?task={crowd.task}",
        "chain of 200 tasks": f"/chains/{crowd.large}",
        "panel of a task": f"/panel/main/{crowd.task}",
        "timeline of a task": f"/tasks/main/{crowd.task}",
        "operations": "/operations",
        "operations, 7 days": "/operations?span=7d",
        "rules": "/rules",
        "set-up": "/setup",
    }


def _cursor(ask: Ask, pages: int) -> str:
    """Where the page after so many begins."""
    page, before = ask("/"), ""
    for _ in range(pages):
        following = _MORE.search(unescape(page))
        if following is None:
            break  # a short run has fewer
        before = following[1]
        page = ask(f"/?before={before}")
    return before


def _timed(ask: Ask, path: str, requests: int, process_id: int) -> Taken:
    body = ask(path)  # what a process does once is not measured
    times, before_s = [], cpu_s(process_id)
    for _ in range(requests):
        began = time.perf_counter()
        ask(path)
        times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return Taken(
        p50_ms=percentile(times, 0.5),
        p95_ms=percentile(times, 0.95),
        cpu_ms=1000 * (cpu_s(process_id) - before_s) / requests,
        kilobytes=len(body.encode()) / 1000,
    )


def show(found: dict[str, dict[str, Taken]], title: str) -> None:
    """The table, and loudly what is over the goal."""
    table, slow = Table(title=title), []
    table.add_column("page")
    for name in found:
        for heading in ("p50", "p95", "CPU"):
            table.add_column(f"{name}\n{heading}", justify="right")
    table.add_column("kB", justify="right")
    for page in next(iter(found.values())):
        cells = []
        for name, taken in found.items():
            one, is_slow = taken[page], taken[page].p95_ms > GOAL_MS
            cells += [
                f"{one.p50_ms:.1f}",
                f"[bold red]{one.p95_ms:.1f} !![/]" if is_slow else f"{one.p95_ms:.1f}",
            ]
            cells.append(f"{one.cpu_ms:.0f}")
            slow += [f"{page} on {name}"] if is_slow else []
        table.add_row(page, *cells, f"{one.kilobytes:.0f}")
    console = Console(width=110)
    console.print(table)
    told = f"[bold red]SLOWER THAN THAT: {', '.join(slow)}[/]" if slow else "all are"
    console.print(f"goal: gallery and chain pages p95 below {GOAL_MS:.0f} ms; {told}\n")
