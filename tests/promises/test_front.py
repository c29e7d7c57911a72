"""A stranger who knows nothing but the address can neither stop the server nor fill its memory."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import PATIENCE_S, HookchainServer
from tests.support.attacks import PIECE, Honest, UnreadableBody, beside, crowd, resident_mb, stay

pytestmark = pytest.mark.process

OPEN_FILES = 512
"""The hard limit of the server. It starts with a soft one of a fourth."""

MOST_GROWTH_MB = 40

ENOUGH, ENDLESS = 100_000, 20_000_000
"""Bytes: more than a head may have, and more than any buffer on the way takes."""

LIMITED = f"import resource; resource.setrlimit(resource.RLIMIT_NOFILE, ({OPEN_FILES // 4}, {OPEN_FILES}))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HookchainServer]:
    """One for all attacks."""
    running = HookchainServer(
        tmp_path_factory.mktemp("front"), {"HOOKCHAIN_UPSTREAM_URL": "http://127.0.0.1:9"}, without=LIMITED
    )
    yield running
    running.http.close()
    running.end()


def port_of(server: HookchainServer) -> int:
    return int(server.url.rsplit(":")[-1])


def path_of(server: HookchainServer) -> str:
    return server.hook.removeprefix(server.url)


def metric(server: HookchainServer, name: str) -> int:
    """A figure of /metrics. A full server may close the connection by which it is asked."""
    while True:
        with contextlib.suppress(httpx.TransportError):
            text = server.http.get("/metrics", headers={"connection": "close"}).text
            [value] = re.findall(rf"^{re.escape(name)} (\d+)\.0$", text, re.MULTILINE)
            return int(value)


def attack(server: HookchainServer, name: str, what: Callable[[int], Awaitable[Any]]) -> Any:
    """What came of an attack, during which every honest callback was answered and kept, and memory did not grow."""
    before = resident_mb(server.pid)

    async def run() -> tuple[Any, list[int]]:
        async with beside(port_of(server), path_of(server), name) as honest:
            found = await what(port_of(server))
        return found, honest.answers

    found, answers = asyncio.run(run())
    assert set(answers) == {200}
    assert resident_mb(server.pid) - before < MOST_GROWTH_MB
    kept = server.get(f"/api/tasks/main/{name}-{len(answers) - 1}")
    assert kept["id"] == f"{name}-{len(answers) - 1}"
    return found


CHUNKED = b"POST %s HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("begin", "piece", "status", "why"),
    [
        pytest.param(b"GET / HTTP/1.1\r\nx: ", b"a" * PIECE, 431, "head_too_large", id="a header"),
        pytest.param(b"GET /", b"a" * PIECE, 431, "head_too_large", id="a URL"),
        pytest.param(b"GET / HTTP/1.1\r\n", b"a:b\r\n" * 20, 431, "head_too_large", id="headers"),
        pytest.param(b"", b"\r\n" * PIECE, 431, "head_too_large", id="blank lines"),
        pytest.param(CHUNKED + b"1;", b"a" * PIECE, 400, "invalid", id="a chunk extension"),
        pytest.param(CHUNKED + b"0\r\nx: ", b"a" * PIECE, 400, "invalid", id="a trailer"),
    ],
)
def test_what_does_not_end_is_refused(
    server: HookchainServer, begin: bytes, piece: bytes, status: int, why: str
) -> None:
    """With the reason, and counted; who sends on is disconnected."""
    counter = f'hookchain_requests_refused_total{{why="{why}"}}'
    before = metric(server, counter)
    begin = begin.replace(b"%s", path_of(server).encode())

    async def flood(port: int) -> tuple[int, int]:
        status = await (await UnreadableBody.of(port)).flood(begin, piece, ENOUGH)
        endless = await UnreadableBody.of(port)
        await endless.flood(begin, piece, ENDLESS)
        return status, endless.sent_bytes

    answered, sent = attack(server, f"endless-{status}-{len(begin)}-{len(piece)}", flood)
    assert (answered, metric(server, counter)) == (status, before + 2)
    assert sent < ENDLESS


def test_many_half_sent_heads_hold_little(server: HookchainServer) -> None:
    """200 connections that each send far more than they may."""
    counter = 'hookchain_requests_refused_total{why="head_too_large"}'
    before = metric(server, counter)

    async def flood(port: int) -> list[int]:
        async def one() -> int:
            return await (await UnreadableBody.of(port)).flood(
                b"GET / HTTP/1.1\r\nx: ", b"a" * PIECE, ENDLESS
            )

        return list(await asyncio.gather(*(one() for _ in range(200))))

    # Whoever still sends when he is disconnected may not see why.
    assert set(attack(server, "half-heads", flood)) <= {0, 431}
    assert metric(server, counter) == before + 200


def test_requests_whose_answers_are_not_read_are_not_read_either(server: HookchainServer) -> None:
    """20 connections that would send 20 MB of requests each; what the system's own buffers hold is not ours."""
    requests = b"GET /login HTTP/1.1\r\nhost: x\r\n\r\n" * 2000

    async def flood(port: int) -> list[int]:
        strangers = await crowd(port, 20, b"")
        taken = await asyncio.gather(*(one.fill(requests, ENDLESS) for one in strangers))
        for one in strangers:
            await one.leave()
        return list(taken)

    assert max(attack(server, "unread", flood)) < ENDLESS


CROWDS = {
    "silent": b"",
    "half a head": b"GET / HTTP/1.1\r\nx: ",
    "idle": b"GET /healthz HTTP/1.1\r\nhost: x\r\nx: " + b"a" * 30_000 + b"\r\n\r\n",
    "half a body": b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 9000\r\n\r\n{",
    "pipeline": b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n" * 20,
}
"""What each of many strangers sends before he waits; `%s` is the path of the hook."""


@pytest.mark.parametrize("begin", CROWDS.values(), ids=CROWDS)
def test_a_thousand_connections_do_not_keep_an_honest_sender_out(
    server: HookchainServer, eventually: Any, begin: bytes
) -> None:
    """With 512 open files at most: the idlest are closed, counted, and named in the log with what to do."""
    counter = 'hookchain_connections_shed_total{why="too_many"}'
    before = metric(server, counter)
    begin = begin.replace(b"%s", path_of(server).encode())

    async def come(port: int) -> None:
        strangers = await crowd(port, 1000, begin)
        # On a slow machine some are sent away because they are late, and make room for others.
        while await asyncio.to_thread(metric, server, counter) - before < 1000 - OPEN_FILES:
            strangers += await crowd(port, 100, begin)
        for one in strangers:
            await one.leave()

    attack(server, f"crowd-{len(begin)}", come)
    eventually(lambda: re.search(r"connections closed to make room .*count=\d+.*ulimit -n", server.output))


def test_a_newcomer_does_not_wait_behind_busy_clients(server: HookchainServer) -> None:
    """40 clients have 400 requests each in their pipelines, and 260 silent ones come before a newcomer. uvloop accepts one connection
    a turn by each descriptor, and a turn answers one request of each: by one descriptor he waited for 140 turns."""
    address = ("127.0.0.1", port_of(server))
    with contextlib.ExitStack() as open_:
        busy = [open_.enter_context(socket.create_connection(address)) for _ in range(40)]
        for one in busy:
            one.sendall(HEALTH * 400)
        for _ in range(260):
            open_.enter_context(socket.create_connection(address))
        before = [answered(one) for one in busy]
        newcomer = open_.enter_context(socket.create_connection(address, timeout=PATIENCE_S))
        newcomer.sendall(HEALTH)
        assert newcomer.recv(PIECE).startswith(b"HTTP/1.1 200")
        turns = [answered(one) - at for one, at in zip(busy, before, strict=True)]
    print("TURNS", statistics.median(turns))
    assert statistics.median(turns) < 80


HEALTH = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"


def answered(connection: socket.socket) -> int:
    """How many answers have come and were not read."""
    try:
        return connection.recv(1_000_000, socket.MSG_PEEK | socket.MSG_DONTWAIT).count(b"HTTP/1.1 200")
    except BlockingIOError:
        return 0


def test_the_soft_limit_of_open_files_is_raised(server: HookchainServer) -> None:
    """To the hard one, as the server starts."""
    limits = Path(f"/proc/{server.pid}/limits").read_text()
    assert re.search(rf"Max open files\s+{OPEN_FILES}\s+{OPEN_FILES}\s", limits)


def test_who_is_late_is_sent_away(server: HookchainServer) -> None:
    """Nothing, half a head, a head and a body of a byte a second, blank lines, the rest of a body behind its answer: all at once."""
    hook = path_of(server).encode()
    body = b"POST %s HTTP/1.1\r\nhost: x\r\ncontent-length: 900\r\n\r\n"

    async def drip(port: int) -> dict[str, tuple[int, float]]:
        ways = {
            "silent": (b"", b""),
            "half a head": (b"GET / HTT", b""),
            "slow head": (b"GET / HTTP/1.1\r\nx: ", b"a"),
            "blank lines": (b"\r\n", b"\r\n"),
            "slow body": (body % hook, b"a"),
            "late body": (body % b"/healthz", b"a"),
        }

        async def one(begin: bytes, piece: bytes) -> tuple[int, float]:
            return await (await UnreadableBody.of(port)).drip(begin, piece, 1.0)

        found = await asyncio.gather(*(one(*way) for way in ways.values()))
        return dict(zip(ways, found, strict=True))

    found = attack(server, "late", drip)
    assert {name: status for name, (status, _) in found.items()} == {
        "silent": 0,
        "half a head": 408,
        "slow head": 408,
        "blank lines": 408,
        "slow body": 408,
        "late body": 405,
    }
    assert max(after_s for _, after_s in found.values()) < PATIENCE_S


SOAK_S = 30.0
MOST_MB = 300


@pytest.mark.soak
@pytest.mark.parametrize(
    "ways",
    [
        pytest.param([CROWDS["silent"]], id="silent"),
        pytest.param([CROWDS["half a head"]], id="half a head"),
        pytest.param([CROWDS["idle"]], id="idle"),
        pytest.param([CROWDS["half a body"]], id="half a body"),
        pytest.param([CROWDS["pipeline"]], id="pipeline"),
        pytest.param(list(CROWDS.values()), id="all"),
    ],
)
def test_a_crowd_that_comes_again_and_again(start_server: Any, ways: list[bytes]) -> None:
    """2,000 strangers for half a minute, each of whom comes again when he is sent away: every honest callback is kept."""
    server = start_server(
        HOOKCHAIN_UPSTREAM_URL="http://127.0.0.1:9", without=LIMITED.replace(str(OPEN_FILES), "1024")
    )
    most_mb = 0.0

    async def run() -> Honest:
        nonlocal most_mb
        port, stopped = port_of(server), asyncio.Event()
        begins = [way.replace(b"%s", path_of(server).encode()) for way in ways]
        async with beside(port, path_of(server), "soak") as honest:
            strangers = [
                asyncio.create_task(stay(port, begins[n % len(begins)], stopped)) for n in range(2000)
            ]
            until = time.monotonic() + SOAK_S
            while time.monotonic() < until:
                most_mb = max(most_mb, resident_mb(server.pid))
                await asyncio.sleep(0.1)
            stopped.set()
            await asyncio.gather(*strangers)
        return honest

    honest = asyncio.run(run())
    print(
        f"{len(honest.answers)} answered, the slowest after {honest.slowest_s:.2f} s; {most_mb:.0f} MB at most"
    )
    assert set(honest.answers) == {200}
    for number in range(len(honest.answers)):
        assert server.get(f"/api/tasks/main/soak-{number}")["id"] == f"soak-{number}"
    assert most_mb < MOST_MB
