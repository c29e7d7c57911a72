"""Routes of a stand-in for midjourney-proxy-plus."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from midjourney.sandbox import drawing
from midjourney.sandbox.engine import Engine, Order
from midjourney.sandbox.faults import parse
from midjourney.sandbox.notifier import Notifier
from midjourney.sandbox.wire import Answer, Message


class SandboxOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the sandbox behaves. `seed` None gives new ids at every start; an integer makes everything repeatable.

    At `speed` 1 an imagine takes 6 s. `secret` "" lets everybody in. `faults` is a list of switches, see faults.py.
    """

    seed: int | None = None
    speed: float = 1.0
    secret: str = ""
    concurrency: int = 3
    queue: int = 10
    notify_hook: str = ""
    notify_workers: int = 10
    faults: str = ""


class Body(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Every field that a submit may have; Spring Boot ignores the others, and so do we."""

    prompt: str | None = None
    task_id: str | int | None = None
    custom_id: str | None = None
    action: str | None = None
    index: int | None = None
    content: str | None = None
    base64: str | None = None
    base64_array: list[str] | None = None
    mask_base64: str | None = None
    bot_type: str | None = None
    state: str | None = None
    notify_hook: str | None = None


_body = msgspec.json.Decoder(Body)


def create_app(options: SandboxOptions) -> Starlette:
    """The application; its clock and its notifier run in its lifespan. Raises ValueError for an unknown fault."""
    sandbox = Sandbox(options)
    return Starlette(routes=sandbox.routes(), lifespan=sandbox.lifespan)


class Sandbox:
    """An engine with HTTP before it and a clock behind it."""

    def __init__(self, options: SandboxOptions) -> None:
        now_ms = _now_ms()
        self._options = options
        self._engine = Engine(
            seed=options.seed,
            now_ms=now_ms,
            speed=options.speed,
            concurrency=options.concurrency,
            queue=options.queue,
        )
        self._notifier = Notifier(
            workers=options.notify_workers,
            hook=options.notify_hook,
            faults=parse(options.faults),
            ledger=self._engine.ledger,
            seed=now_ms if options.seed is None else options.seed,
        )
        self._moved = asyncio.Event()
        self._submits: dict[str, Callable[[Body, str], Answer]] = {
            "imagine": self._imagine,
            "action": self._action,
            "modal": self._modal,
            "change": self._change,
            "simple-change": self._simple_change,
            "blend": self._blend,
            "describe": self._describe,
            "shorten": self._shorten,
        }

    def routes(self) -> list[BaseRoute]:
        """Everything under /mj, and the ledger."""
        return [
            Route("/mj/submit/{kind}", self.submit, methods=["POST"]),
            Route("/mj/task/list-by-condition", self.list_by_condition, methods=["POST"]),
            Route("/mj/task/list", self.list_all),
            Route("/mj/task/{id}/fetch", self.fetch),
            Route("/mj/task/{id}/image-seed", self.image_seed),
            Route("/mj/task/{id}/cancel", self.cancel, methods=["POST"]),
            Route("/mj/image/{name}.png", self.image),
            Route("/sandbox/ledger", self.ledger),
            Route("/sandbox/health", self.health),
        ]

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

    async def submit(self, request: Request) -> Response:
        """Any submit: 401 with an empty body for a wrong secret, 400 for what is no JSON, else 200 with a code."""
        if not self._may(request):
            return Response(status_code=401)
        kind, raw = request.path_params["kind"], await request.body()
        if kind not in self._submits:
            return Response(status_code=404)
        try:
            body = _body.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self._record(request, raw, None)
            return Response(status_code=400)
        answer = self._submits[kind](body, str(request.base_url).rstrip("/"))
        self._record(request, raw, answer)
        job = self._engine.jobs.get(answer.result or "")
        if job is not None and answer.code == 1 and job.left:
            self._notifier.notify(job)
        self._moved.set()
        return _json(answer)

    def _record(self, request: Request, raw: bytes, answer: Answer | None) -> None:
        self._engine.ledger.record(
            path=request.url.path,
            body=raw,
            code=None if answer is None else answer.code,
            result=None if answer is None else answer.result,
            at_ms=_now_ms(),
        )

    def _imagine(self, body: Body, base_url: str) -> Answer:
        prompt = body.prompt or ""
        order = _order(
            body, base_url, action="IMAGINE", work="imagine", prompt=prompt, description=f"/imagine {prompt}"
        )
        return self._engine.submit("imagine", order, _now_ms())

    def _blend(self, body: Body, base_url: str) -> Answer:
        images = body.base64_array or []
        if not 2 <= len(images) <= 5:
            return Answer(code=4, description="base64List参数错误")
        told = f"/blend {len(images)}"
        order = _order(body, base_url, action="BLEND", work="imagine", prompt="a blend", description=told)
        return self._engine.submit("blend", order, _now_ms())

    def _describe(self, body: Body, base_url: str) -> Answer:
        if not body.base64:
            return Answer(code=4, description="base64不能为空")
        found = "1️⃣ a cat on a wall\n\n2️⃣ a cat, watercolour\n\n3️⃣ a small cat\n\n4️⃣ portrait of a cat"
        order = _order(
            body,
            base_url,
            action="DESCRIBE",
            work="describe",
            prompt=found,
            description="/describe image.png",
        )
        return self._engine.submit("describe", order, _now_ms())

    def _shorten(self, body: Body, base_url: str) -> Answer:
        prompt = body.prompt or ""
        order = _order(
            body, base_url, action="SHORTEN", work="shorten", prompt=prompt, description=f"/shorten {prompt}"
        )
        return self._engine.submit("shorten", order, _now_ms())

    def _action(self, body: Body, _base_url: str) -> Answer:
        if not body.task_id or not body.custom_id:
            return Answer(code=4, description="taskId或customId不能为空")
        return self._engine.press(str(body.task_id), body.custom_id, _passed_on(body), _now_ms())

    def _modal(self, body: Body, _base_url: str) -> Answer:
        if not body.task_id:
            return Answer(code=4, description="taskId不能为空")
        return self._engine.answer_window(
            str(body.task_id), body.prompt or "", body.mask_base64 or "", _now_ms()
        )

    def _change(self, body: Body, _base_url: str) -> Answer:
        index = body.index or 0
        if not body.task_id or (body.action != "REROLL" and not 1 <= index <= 4):
            return Answer(code=4, description="taskId或index参数错误")
        return self._engine.change(str(body.task_id), body.action or "", index, _passed_on(body), _now_ms())

    def _simple_change(self, body: Body, base_url: str) -> Answer:
        found = re.fullmatch(r"(\S+) ([UVR])([1-4]?)", (body.content or "").strip())
        if found is None:
            return Answer(code=4, description="content参数错误")
        action = {"U": "UPSCALE", "V": "VARIATION", "R": "REROLL"}[found[2]]
        changed = msgspec.structs.replace(body, task_id=found[1], action=action, index=int(found[3] or 0))
        return self._change(changed, base_url)

    async def fetch(self, request: Request) -> Response:
        """The task; an unknown id is 200 with an empty body (novicezk, Plus)."""
        if not self._may(request):
            return Response(status_code=401)
        job = self._engine.jobs.get(request.path_params["id"])
        return Response() if job is None else _json(job.task)

    async def list_by_condition(self, request: Request) -> Response:
        """Those of the ids that are known."""
        if not self._may(request):
            return Response(status_code=401)
        try:
            wanted = msgspec.json.decode(await request.body(), type=dict[str, list[str]])
        except msgspec.DecodeError:
            return Response(status_code=400)
        found = [self._engine.jobs.get(one) for one in wanted.get("ids", [])]
        return _json([job.task for job in found if job is not None])

    async def list_all(self, request: Request) -> Response:
        """All tasks, the latest first."""
        if not self._may(request):
            return Response(status_code=401)
        return _json([job.task for job in reversed(self._engine.jobs.values())])

    async def image_seed(self, request: Request) -> Response:
        """The seed of a finished picture."""
        job = self._engine.jobs.get(request.path_params["id"])
        if job is None or job.task.status != "SUCCESS":
            return _json(Message(code=4, description="任务状态错误"))
        return _json(Message(code=1, description="成功", result=str(int(job.uuid[:8], 16))))

    async def cancel(self, request: Request) -> Response:
        """Cancel a task; Plus tells it by a callback."""
        if not self._may(request):
            return Response(status_code=401)
        message, job = self._engine.cancel(request.path_params["id"], _now_ms())
        if job is not None:
            self._notifier.notify(job)
        self._moved.set()
        return _json(message)

    async def image(self, request: Request) -> Response:
        """A picture, drawn from its name."""
        picture = drawing.picture_of(request.path_params["name"])
        if picture is None:
            return Response(status_code=404)
        return Response(drawing.png(picture), media_type="image/png")

    async def ledger(self, _request: Request) -> Response:
        """What was really accepted."""
        return _json(self._engine.ledger.report())

    async def health(self, _request: Request) -> Response:
        """200 as long as it answers."""
        return _json({"status": "ok"})

    def _may(self, request: Request) -> bool:
        secret = self._options.secret
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return not secret or secret in (request.headers.get("mj-api-secret"), given)


def _order(body: Body, base_url: str, *, action: str, work: str, prompt: str, description: str) -> Order:
    return Order(
        action=action,
        work=work,
        prompt=prompt,
        description=description,
        base_url=base_url,
        bot_type=body.bot_type or "MID_JOURNEY",
        state=body.state,
        notify_hook=body.notify_hook,
    )


def _passed_on(body: Body) -> dict[str, str | None]:
    return {"state": body.state, "notify_hook": body.notify_hook}


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


__all__ = ["Sandbox", "SandboxOptions", "create_app"]
