"""The simulated server: HTTP routes, the engine, and a clock and a notifier that run in the background."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from difflib import get_close_matches

import msgspec
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from midjourney.sandbox import drawing, forms, images, moving
from midjourney.sandbox.answers import Answers
from midjourney.sandbox.cors import Cors
from midjourney.sandbox.drawing import Picture
from midjourney.sandbox.engine import Engine
from midjourney.sandbox.faults import parse
from midjourney.sandbox.gate import Gate, Handler, json_response
from midjourney.sandbox.jobs import Job
from midjourney.sandbox.notifier import Notifier
from midjourney.sandbox.profiles import PROFILES, ServerProfile
from midjourney.sandbox.questions import Questions
from midjourney.sandbox.shown import Shown
from midjourney.sandbox.submits import Submits


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
    cors = Middleware(Cors, policy=sandbox.profile.cors, asks_for_secret=bool(options.secret))
    app = Starlette(routes=sandbox.routes(), middleware=[cors], lifespan=sandbox.lifespan)
    app.router.redirect_slashes = False
    return app


class Sandbox:
    """One server: its routes and the parts behind them."""

    def __init__(self, options: SandboxOptions, profile: ServerProfile) -> None:
        now_ms = _now_ms()
        self.profile = profile
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
        shown = Shown(self._engine, _now_ms)
        self._notifier = Notifier(
            workers=options.notify_workers,
            hook=options.notify_hook,
            faults=self._faults,
            ledger=self._engine.ledger,
            speed=options.speed,
            finished=self._engine.finished,
            show=lambda job, task: msgspec.json.encode(shown.callback(job, task)),
        )
        self._questions = Questions(self._engine, shown, self._engine.account())
        self._answers = Answers(self._engine, Submits(self._engine), speed=options.speed)
        self._moved = asyncio.Event()

    def routes(self) -> list[BaseRoute]:
        """The routes of this server under each of its prefixes, its pictures, and the ledger."""
        questions = self._questions.by_path | {"task/{id}/cancel": ("POST", self._cancel)}
        routes: list[BaseRoute] = []
        for prefix in self.profile.prefixes:
            routes += [
                Route(f"{prefix}/{path}", self._gate.guarded(self._counted(path, handler)), methods=[method])
                for path, (method, handler) in questions.items()
                if path in self.profile.serves
            ]
            routes += [
                Route(f"{prefix}/{path}", self._gate.guarded(self._submit), methods=["POST"])
                for path in sorted(self._answers.paths & self.profile.serves)
            ]
        return [
            *routes,
            Route("/mj/image/{name}.png", self._image),
            Route("/mj/video/{number:int}/{name}.gif", self._video),
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
            body = await forms.body_of(path, request)
            if body is None:
                return Response(status_code=415)
            return await self._answers.answer(
                path,
                request.url.path,
                body,
                base_url,
                _now_ms(),
                on_started=self._notify_started,
            )

    def _notify_started(self, started: list[Job]) -> None:
        for job in started:
            self._notifier.notify(job)
        self._moved.set()

    async def _cancel(self, request: Request) -> Response:
        """Cancel a task. Plus sends a callback for it; trueai answers with an empty body and sends no callback."""
        message, job = self._engine.cancel(request.path_params["id"], _now_ms())
        self._answers.record(request.url.path, b"{}", message.code, job.task.id if job else None, _now_ms())
        self._moved.set()
        if self.profile.shape == "tru":
            return Response()
        if job is not None:
            self._notifier.notify(job)
        return json_response(message)

    async def _image(self, request: Request) -> Response:
        """A picture, drawn from its name; 404 once its URL has expired."""
        return await _drawn(request, drawing.png, "image/png")

    async def _video(self, request: Request) -> Response:
        """A video, drawn from the name of its task's picture; 404 once its URL has expired."""
        number: int = request.path_params["number"]
        if not 1 <= number <= 4:
            return Response(status_code=404)
        return await _drawn(request, lambda picture: moving.gif(picture, number), "image/gif")

    async def _ledger(self, _request: Request) -> Response:
        return json_response(self._engine.ledger.report())

    async def _restart(self, _request: Request) -> Response:
        """Drop the queued callbacks, as a restart of a real server does."""
        self._notifier.restart()
        return json_response({"status": "restarted"})

    async def _health(self, _request: Request) -> Response:
        return json_response({"status": "ok"})


async def _drawn(request: Request, draw: Callable[[Picture], bytes], media_type: str) -> Response:
    picture = drawing.parse_name(request.path_params["name"])
    if picture is None:
        return Response(status_code=404)
    if images.is_expired(request.query_params.get("ex", ""), _now_ms() // 1000):
        return Response(images.GONE, status_code=404)
    return Response(await asyncio.to_thread(draw, picture), media_type=media_type)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
