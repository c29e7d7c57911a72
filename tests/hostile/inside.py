"""The upstream within the test's own event loop: no port, no thread, and no time that the loop does not give it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Literal

import httpx
from starlette.types import Message, Receive, Scope, Send

from tests.hostile.caller import Call
from tests.hostile.clock import Job
from tests.hostile.losing import BREAK
from tests.hostile.manners import Manners
from tests.hostile.model import Model


class LoopClock:
    """The loop's time is the upstream's."""

    def __init__(self, loop: asyncio.AbstractEventLoop, now_s: Callable[[], float]) -> None:
        self._loop, self.now_s = loop, now_s

    def after(self, seconds: float, job: Job) -> None:
        """Run this once so much time has passed."""
        self._loop.call_later(seconds, job)


class Held:
    """Callbacks that wait for the test to deliver them, or to lose them."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, Any]] = []
        self.on_post: Callable[[], None] = lambda: None

    def due(self, job: Job) -> Job:
        """It is done when it is started."""
        return job

    def post(self, hook: str, body: Any, *, encoding: str = "") -> Call:
        """Keep it."""
        self.waiting.append((hook, body))
        self.on_post()
        return Call(hook=hook, body=body, status=0, told="it waits")


class Inside(Model):
    """Reached by `transport`, at an address that nobody else has."""

    def __init__(
        self,
        manners: Manners,
        loop: asyncio.AbstractEventLoop,
        now_s: Callable[[], float],
        *,
        url: str = "http://upstream.test",
    ) -> None:
        self.held = Held()
        super().__init__(manners, "sk-1", url=url, clock=LoopClock(loop, now_s), caller=self.held)
        self.tasks: set[asyncio.Task[None]] = set()

    def transport(self, may_leave: Callable[[], bool] = lambda: True) -> httpx.AsyncBaseTransport:
        """What a client of one process sends through. Once the process is gone, nothing leaves any more."""
        return _Transport(self, may_leave)

    def serve(self, request: httpx.Request, body: bytes) -> tuple[asyncio.Future[httpx.Response], Job]:
        """Begin to answer; the answer, or the error that ends the connection, and what tells that the client has gone.
        The server goes on whether anybody waits or not."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[httpx.Response] = loop.create_future()
        gone = asyncio.Event()
        asked: list[bytes] = [body]
        status, headers, chunks = 0, [], list[bytes]()

        async def receive() -> Message:
            if asked:
                return {"type": "http.request", "body": asked.pop(), "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
                return
            chunks.append(message.get("body", b""))
            if not message.get("more_body") and not answer.done():
                answer.set_result(httpx.Response(status, headers=headers, content=b"".join(chunks)))

        def end(how: Literal["closed", "reset"]) -> None:
            gone.set()
            if not answer.done():
                kind = httpx.ReadError if how == "reset" else httpx.RemoteProtocolError
                answer.set_exception(kind(f"the connection was {how}", request=request))

        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": "http",
            "path": request.url.path,
            "raw_path": request.url.raw_path,
            "root_path": "",
            "query_string": request.url.query,
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": ("127.0.0.1", 1),
            "server": ("upstream.test", 80),
            BREAK: end,
        }
        task: asyncio.Task[None] = loop.create_task(self._answer(scope, receive, send))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return answer, gone.set

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, send)

    async def stop(self) -> None:
        """Whoever still waits is hung up on."""
        for task in list(self.tasks):
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


class _Transport(httpx.AsyncBaseTransport):
    def __init__(self, upstream: Inside, may_leave: Callable[[], bool]) -> None:
        self._upstream, self._may_leave = upstream, may_leave

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        if not self._may_leave():
            raise httpx.ConnectError("this process is gone", request=request)
        answer, hang_up = self._upstream.serve(request, body)
        timeout_s = request.extensions.get("timeout", {}).get("read")
        try:
            async with asyncio.timeout(timeout_s):
                found = await asyncio.shield(answer)
        except TimeoutError as error:
            raise httpx.ReadTimeout("nobody answered", request=request) from error
        finally:
            hang_up()
            if answer.done() and not answer.cancelled():
                answer.exception()  # whether anybody waited for it or not
        # As from a connection: to be read by whoever wants it.
        return httpx.Response(
            found.status_code, headers=found.headers, stream=httpx.ByteStream(found.content)
        )

    async def aclose(self) -> None:
        """There is nothing to close."""
        with contextlib.suppress(RuntimeError):
            await asyncio.sleep(0)
