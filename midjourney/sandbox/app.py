"""The simulated server: HTTP routes, the engine, and a clock and a notifier that run in the background."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable
from difflib import get_close_matches

import msgspec
from msgspec.structs import replace
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from midjourney.sandbox import drawing, images
from midjourney.sandbox.answers import Answers
from midjourney.sandbox.engine import Engine
from midjourney.sandbox.faults import SHORT_BATCH, parse
from midjourney.sandbox.gate import Gate, Handler, json_response
from midjourney.sandbox.jobs import Job
from midjourney.sandbox.notifier import Notifier
from midjourney.sandbox.profiles import PROFILES, ServerProfile
from midjourney.sandbox.shapes import task_shape
from midjourney.sandbox.submits import Submits
from midjourney.sandbox.wire import Message, Task


class SandboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Options of the sandbox.

    `seed`: None gives new ids at every start, an integer makes everything repeatable. At `speed` 1 an imagine takes 6 s.
    `secret`: "" accepts every request. `dialect`: a server in profiles.py. `faults`: a list of switches, see faults.py.
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


class Query(msgspec.Struct, frozen=True, rename="camel"):
    """The page of tasks that a request asks for."""

    page_size: int = 10
    page_number: int = 0
    status: str | None = None


def create_app(options: SandboxOptions) -> Starlette:
    """The application. Its lifespan runs the clock and the notifier.

    Raises ValueError for an unknown dialect or fault; the message names the nearest known one.
    """
    if options.dialect not in PROFILES:
        nearest = get_close_matches(options.dialect, PROFILES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f'unknown dialect "{options.dialect}". Did you mean "{nearest}"? Known: {", ".join(PROFILES)}.'
        )
    sandbox = Sandbox(options, PROFILES[options.dialect])
    app = Starlette(routes=sandbox.routes(), lifespan=sandbox.lifespan)
    app.router.redirect_slashes = False
    return app


class Sandbox:
    """One server: its routes and the parts behind them."""

    def __init__(self, options: SandboxOptions, profile: ServerProfile) -> None:
        now_ms = _now_ms()
        self._profile = profile
        self._gate = Gate(profile, options.secret)
        self._faults = parse(options.faults, now_ms if options.seed is None else options.seed)
        self._engine = Engine(
            seed=options.seed,
            now_ms=now_ms,
            speed=options.speed,
            concurrency=options.concurrency,
            queue=options.queue,
            profile=profile,
            faults=self._faults,
        )
        self._notifier = Notifier(
            workers=options.notify_workers,
            hook=options.notify_hook,
            faults=self._faults,
            ledger=self._engine.ledger,
            speed=options.speed,
            finished=self._engine.finished,
            show=lambda job, task: msgspec.json.encode(
                self._shown(job, task, expired=self._faults.has("expired"))
            ),
        )
        self._answers = Answers(self._engine, Submits(self._engine), speed=options.speed)
        self._moved = asyncio.Event()

    def routes(self) -> list[BaseRoute]:
        """The routes of this server under each of its prefixes, its pictures, and the ledger."""
        questions: list[tuple[str, Handler, str]] = [
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
        for prefix in self._profile.prefixes:
            routes += [
                Route(f"{prefix}/{path}", self._gate.guarded(self._counted(path, handler)), methods=[method])
                for path, handler, method in questions
                if path in self._profile.serves
            ]
            routes += [
                Route(f"{prefix}/{path}", self._gate.guarded(self._submit), methods=["POST"])
                for path in sorted(self._answers.paths & self._profile.serves)
            ]
        return [
            *routes,
            Route("/mj/image/{name}.png", self._image),
            Route("/sandbox/ledger", self._ledger),
            Route("/sandbox/restart", self._restart, methods=["POST"]),
            Route("/sandbox/health", self._health),
        ]

    def _counted(self, path: str, handler: Handler) -> Handler:
        def handle(request: Request) -> Awaitable[Response]:
            self._engine.ledger.count_question(path)
            return handler(request)

        return handle

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        """Run the clock and the notifier while the application runs."""
        background = [asyncio.create_task(self._clock()), asyncio.create_task(self._notifier.run())]
        yield
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)

    async def _clock(self) -> None:
        """Advance the engine when the next step of a task is due, or when a submit made a step due earlier."""
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
                path,
                request.url.path,
                await request.body(),
                base_url,
                _now_ms(),
                on_started=self._notify_started,
            )

    def _notify_started(self, started: list[Job]) -> None:
        for job in started:
            self._notifier.notify(job)
        self._moved.set()

    async def _fetch(self, request: Request) -> Response:
        job = self._engine.find(request.path_params["id"])
        if job is not None:
            return json_response(self._shown(job, replace(job.task, id=request.path_params["id"])))
        match self._profile.unknown_task:
            case "204":
                return Response(status_code=204)
            case "400":
                return json_response(
                    {"description": "task_no_found ", "type": "upstream_error", "code": 4}, 400
                )
            case "code 4":
                return json_response({"code": 4, "description": "任务不存在"})
            case _:
                return Response()

    async def _list_some(self, request: Request) -> Response:
        """The known tasks among these ids, newest first, not in the order of the request."""
        try:
            wanted = msgspec.json.decode(await request.body(), type=dict[str, list[str | int]])
        except msgspec.DecodeError:
            return Response(status_code=400)
        ids = dict.fromkeys(str(task_id) for task_id in wanted.get("ids", []))
        known = {task_id: job for task_id in ids if (job := self._engine.find(task_id)) is not None}
        latest = sorted(known.items(), key=lambda item: item[1].task.submit_time, reverse=True)
        shown = [self._shown(job, replace(job.task, id=task_id)) for task_id, job in latest]
        is_short = self._faults.strikes("short-batch", self._engine.ledger.questions.total())
        return json_response(shown[:SHORT_BATCH] if is_short else shown)

    async def _query(self, request: Request) -> Response:
        try:
            asked = msgspec.json.decode(await request.body() or b"{}", type=Query, strict=False)
        except msgspec.DecodeError:
            return Response(status_code=400)
        size, page = asked.page_size, asked.page_number
        jobs = [job for job in self._latest() if asked.status in (None, job.task.status)]
        shown = [self._shown(job, job.task) for job in jobs[page * size : (page + 1) * size]]
        return json_response({"content": shown, "totalElements": len(jobs), "number": page, "size": size})

    async def _list_all(self, _request: Request) -> Response:
        """All tasks, newest first; trueai lists only the newest 100."""
        jobs = self._latest()
        return json_response(
            [self._shown(job, job.task) for job in (jobs[:100] if self._profile.shape == "tru" else jobs)]
        )

    async def _list_queue(self, _request: Request) -> Response:
        return json_response([self._shown(job, job.task) for job in self._engine.waiting()])

    async def _image_seed(self, request: Request) -> Response:
        job = self._engine.find(request.path_params["id"])
        if job is None or job.task.status != "SUCCESS":
            return json_response(Message(code=4, description="任务状态错误"))
        return json_response(Message(code=1, description="成功", result=str(int(job.uuid[:8], 16))))

    async def _cancel(self, request: Request) -> Response:
        """Cancel a task. Plus sends a callback for it; trueai answers with an empty body and sends no callback."""
        message, job = self._engine.cancel(request.path_params["id"], _now_ms())
        self._answers.record(request.url.path, b"{}", message.code, message.result, _now_ms())
        self._moved.set()
        if self._profile.shape == "tru":
            return Response()
        if job is not None:
            self._notifier.notify(job)
        return json_response(message)

    async def _accounts(self, _request: Request) -> Response:
        return json_response([{"id": "1", "enable": True, "coreSize": 3, "queueSize": 10}])

    async def _image(self, request: Request) -> Response:
        """A picture, drawn from its name; 404 once its URL has expired."""
        picture = drawing.parse_name(request.path_params["name"])
        if picture is None:
            return Response(status_code=404)
        if images.is_expired(request.query_params.get("ex", ""), _now_ms() // 1000):
            return Response(images.GONE, status_code=404)
        return Response(await asyncio.to_thread(drawing.png, picture), media_type="image/png")

    async def _ledger(self, _request: Request) -> Response:
        return json_response(self._engine.ledger.report())

    async def _restart(self, _request: Request) -> Response:
        """Drop the queued callbacks, as a restart of a real server does."""
        self._notifier.restart()
        return json_response({"status": "restarted"})

    async def _health(self, _request: Request) -> Response:
        return json_response({"status": "ok"})

    def _latest(self) -> list[Job]:
        return list(reversed(self._engine.jobs.values()))

    def _shown(self, job: Job, task: Task, *, expired: bool = False) -> dict[str, object]:
        """The task as this server writes it. Its picture URL is signed at this moment, as Discord's URLs are."""
        sent = task.properties.get("sent", 1)
        image = images.address(
            job.order.base_url,
            _picture_of(job, task),
            _now_ms() // 1000,
            expired=expired,
            variant=sent if isinstance(sent, int) else 1,
        )
        properties = {key: value for key, value in task.properties.items() if key != "sent"}
        shown = replace(task, properties=properties, image_url=image or None)
        return task_shape(shown, self._profile, big_ids=self._faults.has("big-ids"))


def _picture_of(job: Job, task: Task) -> str:
    """The name of the picture in this state of the task; "" if there is none yet."""
    started = task.status in ("IN_PROGRESS", "SUCCESS") and task.properties.get("messageId")
    return job.picture_name if started else ""


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
