"""A worker over a real database, against an upstream over loopback whose answers a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dispatcher.budget import Budget
from dispatcher.receivers import Registry
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import connect
from dispatcher.signals import SIGNALS
from hookchain.settings import Settings
from hookchain.worker import Worker, now_ms
from midjourney.decode import decode_task
from midjourney.dialects import Upstream
from storage import gauges, queries
from storage.engine import Connection, Database
from storage.records import Delivery, Event, Incoming, Submission
from tests.conftest import PATIENCE_S

UUID = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
U = [f"MJ::JOB::upsample::{number}::{UUID}" for number in (1, 2, 3, 4)]


class StubUpstream:
    """An upstream that records what it is asked and answers as `answer` says: (HTTP status, body, seconds)."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.listed: list[dict[str, Any]] = []
        self.tasks: dict[str, dict[str, Any]] = {}
        self.fetched: list[str] = []
        self.fetch_status = 200
        self.answer: Callable[[str, dict[str, Any]], tuple[int, Any] | None] = lambda path, body: (
            200,
            {"code": 1, "description": "ok", "result": f"child-{len(self.received)}"},
        )
        self.gate = asyncio.Event()
        self.gate.set()
        self.in_flight = 0
        self.most_in_flight = 0
        self.url = ""
        self.lists = 0

    async def submit(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.received.append((request.url.path, body))
        answer = self.answer(request.url.path, body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await self.gate.wait()
        self.in_flight -= 1
        if answer is None:  # hang up without a word
            raise ConnectionAbortedError
        status, content = answer
        return Response(
            content if isinstance(content, bytes) else json.dumps(content).encode(),
            status_code=status,
            media_type="application/json",
        )

    async def list_all(self, _request: Request) -> Response:
        self.lists += 1
        return Response(json.dumps(self.listed).encode(), media_type="application/json")

    async def fetch(self, request: Request) -> Response:
        """The task as a test put it there; an unknown one is an empty 200."""
        self.fetched.append(request.path_params["id"])
        if self.fetch_status != 200:
            return Response(status_code=self.fetch_status)
        task = self.tasks.get(request.path_params["id"])
        return Response(json.dumps(task).encode() if task else b"", media_type="application/json")

    def pressed(self) -> list[str]:
        """customIds that were pressed, in order."""
        return [body["customId"] for path, body in self.received if path.endswith("/action")]


@pytest.fixture
async def upstream() -> AsyncIterator[StubUpstream]:
    """A stub on a free port."""
    stub = StubUpstream()
    app = Starlette(
        routes=[
            Route("/mj/submit/{kind}", stub.submit, methods=["POST"]),
            Route("/mj/task/list", stub.list_all),
            Route("/mj/task/{id}/fetch", stub.fetch),
        ]
    )
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    sock = socket.create_server(("127.0.0.1", 0))
    stub.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
    serving = asyncio.create_task(server._serve([sock]))
    yield stub
    stub.gate.set()
    server.should_exit = True
    await serving
    sock.close()


@pytest.fixture
def signals() -> Iterator[Any]:
    """Every signal without receivers, before and after."""
    for signal in SIGNALS.values():
        signal._clear_state()
    yield SIGNALS
    for signal in SIGNALS.values():
        signal._clear_state()


class Bench:
    """What a dispatcher test holds: the database, the stub, and ways to feed and to wait."""

    def __init__(self, database: Database, upstream: StubUpstream, tmp_path: Path) -> None:
        self.database = database
        self.upstream = upstream
        self.budget = Budget()
        self.options: dict[str, Any] = {"dialect": "trueai"}  # which presses all at once
        self._directory = tmp_path
        self._worker: Worker | None = None

    def rules(self, toml: str) -> None:
        """Connect rules."""
        for rule in load_rules(tomllib.loads(toml)["rules"], file="rules.toml", text=toml):
            connect(rule)

    async def start(self, registry: Registry | None = None) -> None:
        """Start the loops with what is connected by now."""
        self._worker = self.worker(registry)
        await self._worker.start()

    def worker(self, registry: Registry | None = None) -> Worker:
        """A worker over the database, with what is connected by now; not started."""
        upstream = msgspec.structs.replace(Upstream(name="main", url=self.upstream.url), **self.options)
        settings = Settings(
            database_url="",
            host="127.0.0.1",
            port=1,
            public_url="http://hooks",
            secret="s",
            admin_token="",
            plugins=(),
            log_level="info",
            log_format="console",
            body_limit_bytes=1,
            budget=self.budget,
            upstreams={"main": upstream},
            directory=self._directory,
        )
        return Worker(settings, self.database, registry or Registry(SIGNALS), "s")

    async def stop(self) -> None:
        """Stop the loops."""
        if self._worker is not None:
            await self._worker.stop()
            self._worker = None

    async def callback(
        self, task_id: str = "grid", submission_id: str = "", *, forged: bool = False, **fields: Any
    ) -> None:
        """A callback; by default the SUCCESS of a grid. Unless it is forged, the upstream says the same when asked."""
        payload = {
            "id": task_id,
            "action": "IMAGINE",
            "status": "SUCCESS",
            "progress": "100%",
            "prompt": "a cat",
            "buttons": [{"customId": U[n - 1], "label": f"U{n}"} for n in (1, 2, 3, 4)],
        } | fields
        if not forged:
            self.upstream.tasks[task_id] = payload
        await self.database.append(
            Incoming(
                upstream="main",
                task=decode_task(json.dumps(payload).encode()),
                submission_id=submission_id,
                source="callback",
                received_at_ms=now_ms(),
            )
        )

    async def submissions(self, **equal: str) -> list[Submission]:
        """All submissions, oldest first."""
        found = await self.database.read(lambda c: queries.submission_page(c, most=500, equal=equal))
        return sorted(found, key=lambda one: (one.created_at_ms, one.label))

    async def deliveries(self) -> list[Delivery]:
        """All deliveries, oldest first."""
        return (await self.database.read(lambda c: queries.delivery_page(c, most=500)))[::-1]

    async def events(self, **equal: str) -> list[Event]:
        """All events, oldest first."""
        return (await self.database.read(lambda c: queries.event_page(c, most=500, equal=equal)))[::-1]

    async def until(self, question: Callable[[], Awaitable[Any]]) -> Any:
        """Ask again after each commit until the answer is yes."""
        loop = asyncio.get_running_loop()
        committed = asyncio.Event()

        def on_commit(stage: str, _name: str) -> None:
            if stage == "after":
                loop.call_soon_threadsafe(committed.set)

        self.database.observe(on_commit)
        async with asyncio.timeout(PATIENCE_S):
            while not (answer := await question()):
                committed.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(0.5):
                        await committed.wait()
            return answer

    async def until_states(self, *states: str) -> list[Submission]:
        """All submissions, once there are as many as `states` and each is in its state."""

        async def ask() -> list[Submission] | None:
            found = await self.submissions()
            return found if sorted(one.state for one in found) == sorted(states) else None

        found: list[Submission] = await self.until(ask)
        return found

    async def until_quiet(self) -> None:
        """Until nothing is waiting or running."""

        def ask(connection: Connection) -> bool:
            # As of one moment: what is asked for in turn can go meanwhile from where is still to be looked to where has been.
            if connection.dialect.name == "postgresql":
                connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            found = gauges.gauges(connection)
            submissions = {state for _, state in found.submissions}
            return not (
                found.events_waiting
                or found.deliveries.keys() & {"waiting", "running"}
                or submissions & {"waiting", "sending"}
            )

        await self.until(lambda: self.database.read(ask))


@pytest.fixture
async def bench(
    database: Database, upstream: StubUpstream, signals: Any, tmp_path: Path
) -> AsyncIterator[Bench]:
    """The parts of a worker, not started yet."""
    made = Bench(database, upstream, tmp_path)
    yield made
    await made.stop()
