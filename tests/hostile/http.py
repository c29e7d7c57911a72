"""The paths of the upstream."""

from __future__ import annotations

import asyncio
import contextlib
import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from PIL import Image
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from tests.hostile.clock import Job
from tests.hostile.desk import Answer, Trouble
from tests.hostile.ledger import Request as Came
from tests.hostile.losing import Loss, Lost
from tests.hostile.manners import Failing
from tests.hostile.reads import Reads

if TYPE_CHECKING:
    from tests.hostile.model import Model

LOSSES: Mapping[Trouble | None, Loss] = {
    "lost": "lost",
    "closed": "closed",
    "reset": "reset",
    "502": "502",
    "504": "504",
    "silence": "silence",
    "dropped": "closed",
    "unpaid 502": "502",
    "unpaid silence": "silence",
}
"""How the answer is lost where it is, whether the submit was taken or not."""


class Http:
    """`app` is the ASGI application of one upstream."""

    def __init__(self, upstream: Model, reads: Reads, secret: str) -> None:
        self._upstream, self._reads, self._secret = upstream, reads, secret
        self.app: ASGIApp = Starlette(
            routes=[
                Route("/mj/submit/{kind}", self._submit, methods=["POST"]),
                Route("/mj/task/list", self._list),
                Route("/mj/task/queue", self._queue),
                Route("/mj/task/list-by-condition", self._by_ids, methods=["POST"]),
                Route("/mj/task/{task_id}/fetch", self._fetch),
                Route("/mj/task/{task_id}/image-seed", self._seed),
                Route("/attachments/{name}", self._picture),
                Route("/{path:path}", self._other, methods=["GET", "POST", "PUT", "HEAD"]),
            ]
        )

    async def _came(self, request: Request) -> Any:
        """Write the request into the ledger; None where the secret is wrong."""
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        came = self._upstream.ledger.add_request(
            request.method, path, dict(request.headers), await request.body()
        )
        given = request.headers.get("mj-api-secret") or request.headers.get("authorization", "")
        return came if self._secret in ("", given.removeprefix("Bearer ")) else None

    async def _submit(self, request: Request) -> Response:
        came = await self._came(request)
        if came is None:
            return Response(status_code=401)
        trouble = self._upstream.desk.trouble_of(came.kind)
        if (how := LOSSES.get(trouble)) and self._upstream.manners.loses_at_once:
            return Lost(how, background=BackgroundTask(self._take_and_begin, came, trouble))
        answer = await self._take(came, trouble)
        # After the answer has gone out; the callback of a quick task may still overtake its reading.
        later = BackgroundTask(_start, self._beginning(answer))
        if how:
            return Lost(how, background=later)
        if trouble == "429":
            return JSONResponse({"code": 30, "description": "当前分组上游负载已饱和"}, 429)
        return JSONResponse(answer.envelope, background=later)

    async def _take(self, came: Came, trouble: Trouble | None) -> Answer:
        """Have it registered, however long that takes, whether its sender still waits or not."""
        loop = asyncio.get_running_loop()
        registered: asyncio.Future[Answer] = loop.create_future()

        def tell(answer: Answer) -> None:
            if not registered.done():
                registered.set_result(answer)

        def tell_from_anywhere(answer: Answer) -> None:
            with contextlib.suppress(RuntimeError):  # it has stopped meanwhile
                loop.call_soon_threadsafe(tell, answer)

        self._upstream.register(came, trouble, tell_from_anywhere)
        return await registered

    async def _take_and_begin(self, came: Came, trouble: Trouble | None) -> None:
        answer = await self._take(came, trouble)
        await _start(self._beginning(answer))

    def _beginning(self, answer: Answer) -> Job:
        """What lets the work begin; its callbacks are due from now on."""
        if answer.task is None or not answer.begins:
            return lambda: None
        return self._upstream.beginning(answer.task)

    async def _fetch(self, request: Request) -> Response:
        if await self._came(request) is None:
            return Response(status_code=401)
        if says := self._upstream.manners.fetch_says:
            return failing(says)
        shown = self._reads.fetch(request.path_params["task_id"], self._upstream.manners)
        return Response(media_type="application/json") if shown is None else JSONResponse(shown)

    async def _by_ids(self, request: Request) -> Response:
        came = await self._came(request)
        if came is None:
            return Response(status_code=401)
        if says := self._upstream.manners.batch_says:
            return failing(says)
        ids = came.body.get("ids") if isinstance(came.body, dict) else None
        return JSONResponse(self._reads.by_ids(list(map(str, ids or [])), self._upstream.manners))

    async def _list(self, request: Request) -> Response:
        if await self._came(request) is None:
            return Response(status_code=401)
        if says := self._upstream.manners.list_says:
            self._upstream.ledger.add_read("list")
            return failing(says)
        return JSONResponse(self._reads.everything(self._upstream.manners))

    async def _queue(self, request: Request) -> Response:
        if await self._came(request) is None:
            return Response(status_code=401)
        return JSONResponse(self._reads.queue(self._upstream.manners))

    async def _seed(self, request: Request) -> Response:
        if await self._came(request) is None:
            return Response(status_code=401)
        return JSONResponse(self._reads.seed(request.path_params["task_id"], self._upstream.manners))

    async def _picture(self, request: Request) -> Response:
        await self._came(request)
        return Response(PICTURE, media_type="image/png")

    async def _other(self, request: Request) -> Response:
        await self._came(request)
        is_sink = request.url.path.startswith("/sink")
        return JSONResponse({"ok": True}) if is_sink else Response("not found", 404)


async def _start(job: Job) -> None:
    job()


def failing(says: Failing) -> Response:
    """Instead of the answer to a question."""
    return Lost("silence") if says == "silence" else Response("not here", int(says))


def _picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), (90, 120, 150)).save(file, "PNG")
    return file.getvalue()


PICTURE = _picture()
