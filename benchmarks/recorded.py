"""Measure how long each command takes on a large database: a file with 100,000 recorded events."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from midjourney.decode import decode_task
from storage.deliveries import delivery_queue, endings
from storage.engine import Connection, Database
from storage.migrate import migrate
from storage.records import Incoming, Staged

RULES = """
[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"

[[rules]]
name = "vary-cats"
on = "task.succeeded"
if = "task.action == 'UPSCALE' and 'cat' in task.prompt"
vary = "subtle"
"""
PROGRESS = ["0%", "15%", "31%", "46%", "62%", "78%", "93%"]


def measure(events: int) -> None:
    """Fill a database, then time each command as a separate process while the server runs on the same file."""
    with tempfile.TemporaryDirectory() as work:
        directory = Path(work)
        (directory / "hookchain.toml").write_text(RULES)
        task_id = asyncio.run(_fill(f"sqlite:///{directory}/hookchain.db", events))
        table = Table(title=f"commands on {events:,} recorded events, each in its own process")
        table.add_column("command")
        table.add_column("s", justify="right")
        with _server(directory) as environment:
            for command in (
                ["version"],
                ["explain", task_id],
                ["costs", "--by", "rule"],
                ["costs", "--by", "chain", "--json"],
                ["rules", "list"],
                ["plugins"],
                ["replay", "1"],
                ["rules", "try", "hookchain.toml", "--since", "7d"],
            ):
                table.add_row(" ".join(command), f"{_timed(command, directory, environment):.2f}")
            table.add_row("a changed rule file is in use", f"{_reload(directory, environment):.2f}")
        Console(width=110).print(table)


async def _fill(url: str, events: int) -> str:
    """Add chains of a grid and four upscales, with progress, deliveries and submissions. Returns the id of one grid."""
    migrate(url)
    database = Database(url)
    await database.open()
    chains = events // 29
    for begin in range(0, chains, 50):
        batch = range(begin, min(begin + 50, chains))
        await asyncio.gather(*(_grow(database, number) for number in batch))
        await _deliver(database)
    await database.close()
    return "grid-7"


async def _grow(database: Database, number: int) -> None:
    grid = f"grid-{number}"
    for progress in PROGRESS:
        await _append(database, grid, "IMAGINE", "IN_PROGRESS", progress, "")
    await _append(database, grid, "IMAGINE", "SUCCESS", "100%", "")
    for image in (1, 2, 3, 4):
        child = f"{grid}-{image}"
        for progress in PROGRESS[:4]:
            await _append(database, child, "UPSCALE", "IN_PROGRESS", progress, f"/up {grid} U{image}")
        await _append(database, child, "UPSCALE", "SUCCESS", "100%", f"/up {grid} U{image}")


async def _append(
    database: Database, task_id: str, action: str, status: str, progress: str, description: str
) -> None:
    uuid = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
    buttons = [{"customId": f"MJ::JOB::upsample::{n}::{uuid}", "label": f"U{n}"} for n in (1, 2, 3, 4)]
    single = [{"customId": f"MJ::JOB::low_variation::1::{uuid}::SOLO", "label": "Vary (Subtle)"}]
    body: dict[str, Any] = {
        "id": task_id,
        "action": action,
        "status": status,
        "progress": progress,
        "prompt": "a cat " + "x" * 300,
    }
    body |= {"description": description, "imageUrl": "https://cdn.example.com/" + "y" * 120}
    body |= {"buttons": (buttons if action == "IMAGINE" else single) if status == "SUCCESS" else []}
    await database.append(
        Incoming(
            upstream="sandbox",
            task=decode_task(json.dumps(body).encode()),
            submission_id="",
            source="callback",
            received_at_ms=time.time_ns() // 1_000_000,
        )
    )


async def _deliver(database: Database) -> None:
    """Fan out and finish waiting deliveries as a worker would. Sends nothing."""
    now_ms = time.time_ns() // 1_000_000

    def work(connection: Connection) -> int:
        def route(event: object) -> list[str]:
            return ["rule:upscale"] if getattr(event, "signal", "") == "task.succeeded" else []

        delivery_queue.fan_out(connection, route, 10_000, now_ms)
        claimed = delivery_queue.claim(connection, 1_000, now_ms, room=lambda _name: 10_000)
        for delivery in claimed:
            is_grid = delivery.event.action == "IMAGINE"
            staged = (
                tuple(_press(delivery.chain.id, delivery.event.task_id, n) for n in (1, 2, 3, 4))
                if is_grid and delivery.chain
                else ()
            )
            ending = endings.Ended(
                state="done", staged=staged, fired=is_grid, decision="asked" if is_grid else ""
            )
            endings.end(connection, delivery, ending, refuse=lambda _use, _staged: "", now_ms=now_ms)
        return len(claimed)

    while await database.write("fill", work):
        pass


def _press(chain_id: str, task_id: str, number: int) -> Staged:
    custom_id = f"MJ::JOB::upsample::{number}::u"
    request = {"kind": "action", "task_id": task_id, "custom_id": custom_id}
    return Staged(
        idempotency_key=f"sandbox|press|{task_id}|{custom_id}|0",
        chain_id=chain_id,
        upstream="sandbox",
        kind="action",
        label=f"U{number}",
        request=json.dumps(request).encode(),
        parent_id=task_id,
        depth=1,
        asked_by="rule:upscale",
        delay_ms=30 * 24 * 3_600_000,
    )


@contextmanager
def _server(directory: Path) -> Iterator[dict[str, str]]:
    """Run `hookchain serve --no-worker` on the file until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    environment = os.environ | {"PORT": port, "HOST": "127.0.0.1"}
    process = subprocess.Popen(
        [sys.executable, "-m", "hookchain", "serve", "--no-worker"],
        cwd=directory,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if b"rules and plugins" in line:
            break
    yield environment
    process.terminate()
    process.communicate()


def _timed(command: list[str], directory: Path, environment: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-m", "hookchain", *command],
        cwd=directory,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    return time.monotonic() - began


def _reload(directory: Path, environment: dict[str, str]) -> float:
    """Seconds from writing the file until the API shows the new rule."""
    (directory / "hookchain.toml").write_text(RULES.replace("vary-cats", "renamed"))
    began = time.monotonic()
    url = f"http://127.0.0.1:{environment['PORT']}/api/rules"
    while "renamed" not in httpx.get(url).text and time.monotonic() - began < 10:
        time.sleep(0.02)
    return time.monotonic() - began
