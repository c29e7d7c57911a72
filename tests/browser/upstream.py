"""An upstream for pages: the sandbox in a thread of this process, behind a door that keeps every body and loses some.

Words of a prompt say what becomes of it at the door: "lost" is answered with HTTP 500 the first time, "refused" with 401
every time, "refused once" the first time alone. Whatever else comes, and comes again, the sandbox answers.
"""

from __future__ import annotations

import asyncio
import base64
import io
import socket
import threading
from collections import Counter
from typing import Any

import httpx
import msgspec
import uvicorn
from PIL import Image
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from midjourney.sandbox.app import SandboxOptions, create_app
from tests.conftest import PATIENCE_S


class Upstream:
    """Runs until `stop`; `url` is its address, `bodies` are the submits that came, as (path, JSON)."""

    def __init__(self, *, speed: float, seed: int = 7) -> None:
        self.bodies: list[tuple[str, dict[str, Any]]] = []
        self._came: Counter[str] = Counter()
        self._sandbox: ASGIApp = create_app(SandboxOptions(speed=speed, seed=seed, concurrency=12, queue=50))
        sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._door,
                interface="asgi3",
                log_config=None,
                access_log=False,
                timeout_graceful_shutdown=1,
            )
        )
        self._thread = threading.Thread(target=lambda: asyncio.run(self._server.serve([sock])), daemon=True)
        self._thread.start()
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE_S, trust_env=False)

    def stop(self) -> None:
        """End it."""
        self.http.close()
        # A server with open connections may not end. Its thread is a daemon, which ends with the process.
        self._server.should_exit = self._server.force_exit = True
        self._thread.join(5.0)

    def accepted(self, task_id: str, path: str = "submit/action") -> list[dict[str, Any]]:
        """Bodies of the submits about a task that the ledger shows as taken."""
        return [
            one["body"]
            for one in self.http.get("/sandbox/ledger").json()["submissions"]
            if one["path"].endswith(path) and one["code"] in (1, 21, 22) and one["body"]["taskId"] == task_id
        ]

    def answers(self, task_id: str) -> list[dict[str, Any]]:
        """Bodies of the answers to a window, whole."""
        return [
            body for path, body in self.bodies if path.endswith("submit/modal") and body["taskId"] == task_id
        ]

    def picture(self, task_id: str) -> Image.Image:
        """What a task shows."""
        address = self.http.get(f"/mj/task/{task_id}/fetch").json()["imageUrl"]
        return Image.open(io.BytesIO(self.http.get(address).content))

    async def _door(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or "/submit/" not in scope["path"]:
            await self._sandbox(scope, receive, send)
            return
        raw = await _whole(receive)
        body: dict[str, Any] = msgspec.json.decode(raw)
        self.bodies.append((scope["path"], body))
        prompt = str(body.get("prompt") or "")
        self._came[prompt] += 1
        is_first = self._came[prompt] == 1
        if "lost" in prompt and is_first:
            await Response("Internal Server Error", 500)(scope, receive, send)
        elif "refused" in prompt and (is_first or "refused once" not in prompt):
            told = msgspec.json.encode({"code": 401, "description": f"no key for {prompt}"})
            await Response(told, 401, media_type="application/json")(scope, receive, send)
        else:
            await self._sandbox(scope, _again(raw), send)


async def _whole(receive: Receive) -> bytes:
    raw, more = b"", True
    while more:
        message = await receive()
        raw, more = raw + message.get("body", b""), message.get("more_body", False)
    return raw


def _again(raw: bytes) -> Receive:
    async def receive() -> Message:
        return {"type": "http.request", "body": raw, "more_body": False}

    return receive


def mask_of(body: dict[str, Any]) -> Image.Image:
    """The mask in an answer to a window, which must be a PNG, in shades of grey."""
    head, _, data = body["maskBase64"].partition(";base64,")
    assert head == "data:image/png"
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert image.format == "PNG"
    return image.convert("L")
