"""The whole of `hookchain serve` but its port, within the test's event loop: killed, started again, its clock set, its file
put back."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import httpx
import structlog
from sqlalchemy import Connection

from dispatcher.plugins.signals import SIGNALS
from hookchain import wiring
from hookchain.settings.load import load_settings
from midjourney import connections
from storage.driver import sqlite
from storage.driver.writes import Observer
from storage.engine import Closing, Database, Step, parse_url
from storage.errors import NotDurable
from storage.records import Incoming, Recorded
from tests.hostile.inside import Inside

T = TypeVar("T")

HERE = "http://127.0.0.1:8000"
TOKEN = "a token of this test alone"


class Mortal(Database):
    """A database that a process of ours has open. Once the process is gone, it reads and writes nothing any more.

    It asks its questions without the driver's threads, as `Database.look` does.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.is_gone = False
        address = parse_url(url)
        assert isinstance(address, Path)
        self._asked = sqlite.look_engine(address)

    def _must_live(self) -> None:
        if self.is_gone:
            raise NotDurable("this process is gone")

    async def append(self, incoming: Incoming) -> Recorded:
        self._must_live()
        return await super().append(incoming)

    async def write_together(self, *units: tuple[str, Any]) -> list[Any]:
        self._must_live()
        return await super().write_together(*units)

    async def step(self, step: Step[Any, Any], value: Any, closing: Closing | None = None) -> Any:
        self._must_live()
        return await super().step(step, value, closing)

    async def write_separately(self, name: str, work: Callable[[Connection], T]) -> T:
        self._must_live()
        return await super().write_separately(name, work)

    async def read(self, question: Callable[[Connection], T]) -> T:
        self._must_live()
        with self._asked.connect() as connection:
            return question(connection)

    async def close(self) -> None:
        await super().close()
        self._asked.dispose()


class Server:
    """One server of ours, over one file, at one upstream; its processes come and go."""

    def __init__(self, directory: Path, upstream: Inside, toml: str) -> None:
        (directory / "hookchain.toml").write_text(toml)
        environment = {"HOOKCHAIN_SECRET": "a test's secret", "HOOKCHAIN_PUBLIC_URL": HERE}
        environment["HOOKCHAIN_ADMIN_TOKEN"] = TOKEN
        environment["DATABASE_URL"] = f"sqlite:///{directory}/hookchain.db"
        self._settings = load_settings(environment, directory)
        self._upstream = upstream
        self._running: wiring.ServerParts | None = None
        self._database: Mortal | None = None
        self._stack = contextlib.AsyncExitStack()
        self._calls: set[asyncio.Task[None]] = set()
        self.loses_callbacks = False
        upstream.held.on_post = self._call

    async def start(self) -> None:
        """A process begins."""
        for signal in SIGNALS.values():
            signal._clear_state()
        receivers = wiring.connect_receivers(self._settings)
        made: list[Mortal] = []

        def database(url: str) -> Mortal:
            made.append(Mortal(url))
            return made[-1]

        def transport(*_: Any) -> httpx.AsyncBaseTransport:
            return self._upstream.transport(lambda: not made[-1].is_gone)

        self._stack = contextlib.AsyncExitStack()
        with (
            patch.object(wiring, "Database", database),
            patch.object(connections, "outgoing", transport),
            patch.object(gc, "freeze"),
        ):
            self._running = await self._stack.enter_async_context(wiring.running(self._settings, receivers))
        self._database = made[-1]

    async def kill(self) -> None:
        """kill -9: from this moment on nothing leaves it and nothing is written. What is left of it is tidied up."""
        if self._database is None or self._running is None:
            return
        self._database.is_gone, self._running = True, None
        ours = asyncio.all_tasks() - self._upstream.tasks - {asyncio.current_task()}
        for task in ours:
            task.cancel()
        await asyncio.gather(*ours, return_exceptions=True)
        await self._stack.aclose()

    def observe(self, observer: Observer) -> None:
        """Have it told of the present process's transactions."""
        assert self._database is not None
        self._database.observe(observer)

    async def stop(self) -> None:
        """SIGTERM."""
        await self._stack.aclose()
        self._running = None

    async def ask(self, method: str, path: str, body: Any = None, *, key: str = "") -> Any:
        """What the API answers. `key` makes a submission one that is asked for once."""
        assert self._running is not None
        transport = httpx.ASGITransport(self._running.application, client=("127.0.0.1", 1))
        async with httpx.AsyncClient(transport=transport, base_url=HERE) as http:
            headers = {"authorization": f"Bearer {TOKEN}"} | ({"idempotency-key": key} if key else {})
            answer = await http.request(method, path, json=body, headers=headers)
        assert answer.is_success, answer.text
        return answer.json()

    def _call(self) -> None:
        """Deliver what the upstream calls back, if anybody is there."""
        for hook, body in self._upstream.held.waiting:
            if self._running is not None and not self.loses_callbacks:
                task = asyncio.get_running_loop().create_task(self._deliver(hook, body))
                self._calls.add(task)
                task.add_done_callback(self._calls.discard)
        self._upstream.held.waiting.clear()

    async def _deliver(self, hook: str, body: Any) -> None:
        with contextlib.suppress(AssertionError, NotDurable):
            await self.ask("POST", hook.removeprefix(HERE), body)


@contextlib.contextmanager
def without_logs() -> Iterator[None]:
    """Thousands of minutes tell too much."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)
