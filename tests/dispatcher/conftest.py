"""A worker over a real database, against an upstream over loopback whose answers a test decides."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dispatcher.by_hand import commands
from dispatcher.plugins.receivers import Registry
from dispatcher.plugins.signals import SIGNALS
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.load import load_rules
from dispatcher.rules.receiver import connect
from hookchain.settings.load import Settings
from hookchain.worker import Worker
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS, Upstream
from midjourney.requests import Request as AnyRequest
from storage.clock import now_ms
from storage.engine import Connection, Database
from storage.reading import gauges, pages
from storage.records import Delivery, Event, Incoming, Submission
from storage.submissions import submission_queue
from storage.tasks import rows as tasks
from tests.conftest import PATIENCE_S
from tests.support.served import served

UUID = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
U = [f"MJ::JOB::upsample::{number}::{UUID}" for number in (1, 2, 3, 4)]


def four(uuid: str) -> list[dict[str, str]]:
    """The U-buttons of a grid whose job has this uuid."""
    return [{"customId": f"MJ::JOB::upsample::{n}::{uuid}", "label": f"U{n}"} for n in (1, 2, 3, 4)]


class StubUpstream:
    """An upstream that records what it is asked and answers as `answer` says: (HTTP status, body, seconds)."""

    def __init__(self) -> None:
        self.received: list[tuple[str, dict[str, Any]]] = []
        self.listed: list[dict[str, Any]] = []
        self.list_status = 200
        self.keeps_list = False
        """Whether what it takes stands in its list at once, with its state; else a test says what does."""
        self.tasks: dict[str, dict[str, Any]] = {}
        self.fetched: list[str] = []
        self.fetch_status = 200
        self.unknown_gate = asyncio.Event()
        self.unknown_gate.set()
        """Until it is set, questions about tasks that are not known wait."""
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
        self.list_gate = asyncio.Event()
        self.list_gate.set()
        """Until it is set, lists wait."""

    async def submit(self, request: Request) -> Response:
        body = json.loads(await request.body())
        self.received.append((request.url.path, body))
        answer = self.answer(request.url.path, body)
        if self.keeps_list and answer is not None and "result" in answer[1]:
            self.list_task(answer[1]["result"], body)
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

    def list_task(self, task_id: str, body: dict[str, Any], **fields: Any) -> None:
        """Show what was submitted in the list from now on."""
        made = {"id": task_id, "status": "SUBMITTED", "progress": "0%", "state": body.get("state", "")}
        self.listed.append(made | fields)

    async def list_all(self, _request: Request) -> Response:
        self.lists += 1
        await self.list_gate.wait()
        if self.list_status != 200:
            return Response(status_code=self.list_status)
        return Response(json.dumps(self.listed).encode(), media_type="application/json")

    async def fetch(self, request: Request) -> Response:
        """The task as a test put it there; an unknown one is an empty 200."""
        self.fetched.append(request.path_params["id"])
        if self.fetch_status != 200:
            return Response(status_code=self.fetch_status)
        task = self.tasks.get(request.path_params["id"])
        if task is None:
            await self.unknown_gate.wait()
        return Response(json.dumps(task).encode() if task else b"", media_type="application/json")

    def forget(self, task_id: str) -> None:
        """Know this task no more."""
        del self.tasks[task_id]

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
    async with served(app) as stub.url:
        yield stub
        stub.gate.set()
        stub.list_gate.set()
        stub.unknown_gate.set()


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

    async def ask(self, request: AnyRequest) -> str:
        """Submit something by hand; the submission's id."""

        def stage(connection: Connection) -> str:
            dialect = DIALECTS[self.options.get("dialect", "mj-plus")]
            staged = commands.submit(
                connection, request, upstream="main", dialect=dialect, asked_by="test", now_ms=now_ms()
            )
            return staged.submission_id

        submission_id: str = await self.database.write("stage", stage)
        self.database.wakeups.wake("submissions")
        return submission_id

    async def until_state(self, submission_id: str, state: str) -> Submission:
        """One submission, once it is in this state."""

        async def asked() -> Submission | None:
            found = await self.database.read(lambda c: submission_queue.find(c, submission_id))
            return found if found is not None and found.state == state else None

        found: Submission = await self.until(asked)
        return found

    async def submissions(self, **equal: str) -> list[Submission]:
        """All submissions, oldest first."""
        found = await self.database.read(lambda c: pages.submission_page(c, most=500, equal=equal))
        return sorted(found, key=lambda one: (one.created_at_ms, one.label))

    async def deliveries(self) -> list[Delivery]:
        """All deliveries, oldest first."""
        return (await self.database.read(lambda c: pages.delivery_page(c, most=500)))[::-1]

    async def events(self, **equal: str) -> list[Event]:
        """All events, oldest first."""
        return (await self.database.read(lambda c: pages.event_page(c, most=500, equal=equal)))[::-1]

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

    async def until_tied(self, task_id: str) -> None:
        """Until a task is known to be of a submission of ours."""

        async def tied() -> bool:
            row = await self.database.read(lambda c: tasks.find(c, "main", task_id))
            return row is not None and row.submission_id is not None

        await self.until(tied)

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
