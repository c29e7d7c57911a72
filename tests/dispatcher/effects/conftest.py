"""A web server over loopback that answers as a test says, and a chain whose upstream it is."""

from __future__ import annotations

import io
import json
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image as Pillow
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dispatcher.plugins.chain import Chain, UpstreamHandle
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from midjourney.links import Near
from midjourney.types import Task
from tests.support.served import served

METHODS = ["GET", "POST", "PUT", "HEAD"]


class Web:
    """What was asked of it, whole, and how it answers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.answer: Callable[[Request], Response] = lambda _request: Response(status_code=200)
        self.url = ""

    async def handle(self, request: Request) -> Response:
        target = request.scope["raw_path"].decode()
        query = request.scope["query_string"].decode()
        self.asked.append(
            (
                request.method,
                f"{target}?{query}" if query else target,
                dict(request.headers),
                await request.body(),
            )
        )
        return self.answer(request)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """On a free port."""
    made = Web()
    app = Starlette(routes=[Route("/{path:path}", made.handle, methods=METHODS)])
    async with served(app) as made.url:
        yield made


def png(width: int = 64, height: int = 64, colour: str = "red") -> bytes:
    """A picture of one colour."""
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def task_with(address: str, **fields: Any) -> Task:
    """A finished grid whose picture is at an address."""
    buttons = [{"customId": f"MJ::JOB::upsample::{n}::u", "label": f"U{n}"} for n in (1, 2, 3, 4)]
    body = {"id": "17", "status": "SUCCESS", "action": "IMAGINE", "prompt": "a cat", "imageUrl": address}
    body |= {"buttons": buttons, "properties": {"notifyHook": "http://hook/notify/secret"}} | fields
    return decode_task(json.dumps(body).encode())


def chain_at(url: str, fresh: str = "") -> Chain:
    """A chain at this upstream, which tells `fresh` when it is asked for a picture's address."""

    async def refresh(_task_id: str) -> str:
        return fresh

    handle = UpstreamHandle(name="main", dialect=DIALECTS["mj-plus"], near=Near((url,)), refresh=refresh)
    return Chain(
        id="c1",
        depth=0,
        submissions=0,
        task=task_with(""),
        modal=None,
        asked_by="test",
        handle=handle,
        handles={"main": handle},
    )


@pytest.fixture
def make() -> Any:
    """The helpers above, by name."""
    return SimpleNamespace(png=png, task=task_with, chain=chain_at, in_seconds=in_seconds)


def in_seconds(seconds: int) -> str:
    """The `ex` of an address that expires then."""
    return f"{int(time.time()) + seconds:x}"
