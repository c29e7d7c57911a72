"""HTTP before the engine, a clock and a notifier behind it: a stand-in for a server of the family, in any manner."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from difflib import get_close_matches
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from midjourney.sandbox import drawing, images
from midjourney.sandbox.answers import Answers
from midjourney.sandbox.engine import Engine, Job
from midjourney.sandbox.faults import parse
from midjourney.sandbox.manners import MANNERS, Manner
from midjourney.sandbox.notifier import Notifier
from midjourney.sandbox.shapes import task_shape
from midjourney.sandbox.submits import Submits
from midjourney.sandbox.wire import Message, Task


class SandboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the sandbox behaves. `seed` None gives new ids at every start; an integer makes everything repeatable.

    At `speed` 1 an imagine takes 6 s. `secret` "" lets everybody in. `dialect` names a server of manners.py, `faults`
    is a list of switches, see faults.py.
    """

    dialect: str = "mj-plus"
    seed: int | None = None
    speed: float = 1.0
    secret: str = ""
    concurrency: int = 3
    queue: int = 10
    notify_hook: str = ""
    notify_workers: int = 10
    faults: str = ""


def create_app(options: SandboxOptions) -> Starlette:
    """The application; its clock and its notifier run in its lifespan.

    Raises ValueError for an unknown dialect or fault, naming the nearest.
    """
    if options.dialect not in MANNERS:
        nearest = get_close_matches(options.dialect, MANNERS, n=1, cutoff=0.0)[0]
        raise ValueError(
            f'unknown dialect "{options.dialect}". Did you mean "{nearest}"? Known: {", ".join(MANNERS)}.'
        )
    sandbox = Sandbox(options, MANNERS[options.dialect])
    return Starlette(routes=sandbox.routes(), lifespan=sandbox.lifespan)


class Sandbox:
    """The routes of one server, and what runs behind them."""

    def __init__(self, options: SandboxOptions, manner: Manner) -> None:
        now_ms = _now_ms()
        self._manner = manner
        self._secret = options.secret
        self._faults = parse(options.faults, now_ms if options.seed is None else options.seed)
        self._engine = Engine(
            seed=options.seed,
            now_ms=now_ms,
            speed=options.speed,
            concurrency=options.concurrency,
            queue=options.queue,
            manner=manner,
            faults=self._faults,
        )
        self._notifier = Notifier(
            workers=options.notify_workers,
            hook=options.notify_hook,
            faults=self._faults,
            ledger=self._engine.ledger,
            speed=options.speed,
            show=lambda job, task: msgspec.json.encode(
                self._shown(job, task, expired=self._faults.has("expired"))
            ),
        )
        self._answers = Answers(self._engine, Submits(self._engine), speed=options.speed)
        self._moved = asyncio.Event()

    def routes(self) -> list[BaseRoute]:
        """What this server serves, under each of its prefixes; its pictures; and the ledger."""
        questions: list[tuple[str, Callable[[Request], Any], str]] = [
            ("task/list-by-condition", self._list_some, "POST"),
            ("task/list-by-ids", self._list_some, "POST"),
            ("task/query", self._query, "POST"),
            ("task/list", self._list_all, "GET"),
            ("task/queue", self._list_queue, "GET"),
            ("task/{id}/fetch", self._fetch, "GET"),
            ("task/{id}/refresh", self._fetch, "GET"),
            ("task/{id}/image-seed", self._image_seed, "GET"),
            ("task/{id}/cancel", self._cancel, "POST"),
            ("account/list", self._accounts, "GET"),
        ]
        routes: list[BaseRoute] = []
        for prefix in self._manner.prefixes:
            routes += [
                Route(f"{prefix}/{path}", self._guarded(self._counted(path, handler)), methods=[method])
                for path, handler, method in questions
                if path in self._manner.serves
            ]
            routes += [
                Route(f"{prefix}/{path}", self._guarded(self._submit), methods=["POST"])
                for path in sorted(self._answers.paths & self._manner.serves)
            ]
        return [
            *routes,
            Route("/mj/image/{name}.png", self._image),
            Route("/sandbox/ledger", self._ledger),
            Route("/sandbox/restart", self._restart, methods=["POST"]),
            Route("/sandbox/health", self._health),
        ]

    def _counted(self, path: str, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        def handle(request: Request) -> Any:
            self._engine.ledger.count_question(path)
            return handler(request)

        return handle

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Run the clock and the notifier for as long as the application."""
        background = [asyncio.create_task(self._clock()), asyncio.create_task(self._notifier.run())]
        yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    async def _clock(self) -> None:
        """Wake when the next step of a task is due, or when a submit made one due earlier."""
        while True:
            due_ms = self._engine.next_due_ms()
            wait_s = None if due_ms is None else max(due_ms - _now_ms(), 0) / 1000
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._moved.wait()
            self._moved.clear()
            for job in self._engine.advance(_now_ms()):
                self._notifier.notify(job)

    async def _submit(self, request: Request) -> Response:
        path = next(path for path in self._answers.paths if request.url.path.endswith(f"/{path}"))
        base_url = str(request.base_url).rstrip("/")
        with self._engine.ledger.submitting():
            return await self._answers.answer(
                path, request.url.path, await request.body(), base_url, _now_ms(), on_decided=self._decided
            )

    def _decided(self, started: list[Job]) -> None:
        for job in started:
            self._notifier.notify(job)
        self._moved.set()

    async def _fetch(self, request: Request) -> Response:
        job = self._engine.jobs.get(request.path_params["id"])
        if job is not None:
            return _json(self._shown(job, job.task))
        match self._manner.unknown_task:
            case "204":
                return Response(status_code=204)
            case "400":
                return _json({"description": "task_no_found ", "type": "upstream_error", "code": 4}, 400)
            case "code 4":
                return _json({"code": 4, "description": "任务不存在"})
            case _:
                return Response()

    async def _list_some(self, request: Request) -> Response:
        """Those of the ids that are known; never in the order of asking."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=dict[str, list[str | int]])
        except msgspec.DecodeError:
            return Response(status_code=400)
        known = {str(one) for one in wanted.get("ids", [])}
        return _json([self._shown(job, job.task) for job in self._latest() if job.task.id in known])

    async def _query(self, request: Request) -> Response:
        try:
            asked = msgspec.json.decode(await request.body() or b"{}", type=dict[str, Any])
        except msgspec.DecodeError:
            return Response(status_code=400)
        size, page = int(asked.get("pageSize", 10)), int(asked.get("pageNumber", 0))
        found = [job for job in self._latest() if asked.get("status") in (None, job.task.status)]
        shown = [self._shown(job, job.task) for job in found[page * size : (page + 1) * size]]
        return _json({"content": shown, "totalElements": len(found), "number": page, "size": size})

    async def _list_all(self, _request: Request) -> Response:
        """All tasks, the latest first; the latest 100 at trueai."""
        jobs = self._latest()
        return _json(
            [self._shown(job, job.task) for job in (jobs[:100] if self._manner.shape == "tru" else jobs)]
        )

    async def _list_queue(self, _request: Request) -> Response:
        return _json([self._shown(job, job.task) for job in self._engine.waiting()])

    async def _image_seed(self, request: Request) -> Response:
        job = self._engine.jobs.get(request.path_params["id"])
        if job is None or job.task.status != "SUCCESS":
            return _json(Message(code=4, description="任务状态错误"))
        return _json(Message(code=1, description="成功", result=str(int(job.uuid[:8], 16))))

    async def _cancel(self, request: Request) -> Response:
        """Plus tells a cancelled task by a callback; trueai answers with an empty body, and tells nobody."""
        message, job = self._engine.cancel(request.path_params["id"], _now_ms())
        self._answers.record(request.url.path, b"{}", message.code, message.result, _now_ms())
        self._moved.set()
        if self._manner.shape == "tru":
            return Response()
        if job is not None:
            self._notifier.notify(job)
        return _json(message)

    async def _accounts(self, _request: Request) -> Response:
        return _json([{"id": "1", "enable": True, "coreSize": 3, "queueSize": 10}])

    async def _image(self, request: Request) -> Response:
        """A picture, drawn from its name, as long as its address is good."""
        picture = drawing.picture_of(request.path_params["name"])
        if picture is None:
            return Response(status_code=404)
        if images.is_expired(request.query_params.get("ex", ""), _now_ms() // 1000):
            return Response(images.GONE, status_code=404)
        return Response(await asyncio.to_thread(drawing.png, picture), media_type="image/png")

    async def _ledger(self, _request: Request) -> Response:
        return _json(self._engine.ledger.report())

    async def _restart(self, _request: Request) -> Response:
        """What a restart of a real server does to its queued notifications."""
        self._notifier.forget()
        return _json({"status": "restarted"})

    async def _health(self, _request: Request) -> Response:
        return _json({"status": "ok"})

    def _latest(self) -> list[Job]:
        return list(reversed(self._engine.jobs.values()))

    def _shown(self, job: Job, task: Task, *, expired: bool = False) -> dict[str, Any]:
        """The task as this server writes it; its picture's address is signed at this moment, as Discord's are."""
        sent = task.properties.get("sent", 1)
        image = images.address(
            job.order.base_url,
            _picture_of(job, task),
            _now_ms() // 1000,
            expired=expired,
            variant=sent if isinstance(sent, int) else 1,
        )
        properties = {key: value for key, value in task.properties.items() if key != "sent"}
        shown = msgspec.structs.replace(task, properties=properties, image_url=image or None)
        return task_shape(shown, self._manner, big_ids=self._faults.has("big-ids"))

    def _guarded(self, handler: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def handle(request: Request) -> Response:
            if not self._may(request):
                return self._unauthorized(request)
            response: Response = await handler(request)
            return response

        return handle

    def _may(self, request: Request) -> bool:
        header = request.headers.get("authorization", "")
        given = {
            "mj-api-secret": request.headers.get("mj-api-secret", ""),
            "bearer": header.removeprefix("Bearer ") if header.startswith("Bearer ") else "",
            "raw": header,
        }
        return not self._secret or any(given[way] == self._secret for way in self._manner.auth)

    def _unauthorized(self, request: Request) -> Response:
        match self._manner.unauthorized:
            case "text":
                missing = "authorization" not in request.headers and "mj-api-secret" not in request.headers
                told = "Authorization header missing." if missing else "Invalid token."
                return Response(told, status_code=401 if missing else 403)
            case "openai":
                error = {"message": "invalid token", "type": "new_api_error", "code": ""}
                return _json({"error": error}, 401)
            case _:
                return Response(status_code=401)


def _picture_of(job: Job, task: Task) -> str:
    """The name of the picture that a state of a task shows; "" before there is one."""
    started = task.status in ("IN_PROGRESS", "SUCCESS") and task.properties.get("messageId")
    return job.picture if started else ""


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
