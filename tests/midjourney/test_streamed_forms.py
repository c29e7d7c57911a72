"""The multipart form of a video swap, as it arrives at the upstream."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from starlette.datastructures import UploadFile
from starlette.requests import Request as Received

from midjourney.blob_texts import PIECE_BYTES, Reference
from midjourney.client import Client
from midjourney.dialects import DIALECTS, Upstream
from midjourney.errors import InvalidRequest
from midjourney.requests import VideoSwap

PNG = "data:image/png;base64,iVBORw0KGgo="
START = b"\0\0\0\x18ftypmp42"


class Kept:
    """Blobs in memory, given in pieces of any size."""

    def __init__(self, size: int = PIECE_BYTES) -> None:
        self._texts: dict[str, bytes] = {}
        self._size = size

    def add(self, text: str) -> str:
        digest = hashlib.sha256(text.encode()).hexdigest()
        self._texts[digest] = text.encode()
        return str(Reference(digest, len(text)))

    async def pieces(self, reference: Reference) -> AsyncGenerator[bytes]:
        text = self._texts[reference.sha256]
        for start in range(0, len(text), self._size):
            yield text[start : start + self._size]


class Vendor:
    """Reads forms with starlette, and answers."""

    def __init__(self) -> None:
        self.url = ""
        self.fields: dict[str, Any] = {}
        self.came = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        headers = [line.split(": ", 1) for line in head.strip().split("\r\n")[1:]]
        length = int({name.lower(): value for name, value in headers}["content-length"])
        body = await reader.readexactly(length)
        self.came += 1
        scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "headers": [(name.lower().encode(), value.encode()) for name, value in headers],
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async with Received(scope, receive).form() as form:
            for name, value in form.multi_items():
                file = (value.content_type, await value.read()) if isinstance(value, UploadFile) else None
                self.fields[name] = value if file is None else file
        answer = b'{"code":1,"description":"ok","result":"9"}'
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer))
        writer.close()


@pytest.fixture
async def vendor() -> AsyncIterator[Vendor]:
    made = Vendor()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


async def send(vendor: Vendor, request: VideoSwap, blobs: Kept | None = None) -> None:
    client = Client(Upstream(url=vendor.url, key="k", dialect="trueai"), DIALECTS["trueai"], blobs=blobs)
    try:
        await client.submit(request, notify_hook="https://hook.example/n", state="mark")
    finally:
        await client.aclose()


def video_of(size: int) -> tuple[bytes, str]:
    content = START + bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    return content, "data:video/mp4;base64," + base64.b64encode(content).decode()


async def test_a_small_video_and_links(vendor: Vendor) -> None:
    """A video is a file, a face is a text; links are in fields of their own; objects are written as ASP.NET binds them."""
    content, url = video_of(10)
    extra = {"accountFilter": {"modes": ["FAST", "RELAX"], "remix": True}, 'na"me': 1}
    await send(vendor, VideoSwap(source=PNG, target=url, extra=extra))
    assert vendor.fields == {
        "sourceBase64": PNG,
        "targetFile": ("video/mp4", content),
        "accountFilter.modes[0]": "FAST",
        "accountFilter.modes[1]": "RELAX",
        "accountFilter.remix": "true",
        "na%22me": "1",
        "notifyHook": "https://hook.example/n",
        "state": "mark",
    }
    vendor.fields.clear()
    await send(vendor, VideoSwap(source="https://a.example/a.png", target="https://a.example/a.mp4"))
    assert vendor.fields == {
        "sourceUrl": "https://a.example/a.png",
        "targetUrl": "https://a.example/a.mp4",
        "notifyHook": "https://hook.example/n",
        "state": "mark",
    }


@pytest.mark.parametrize("size", [99_999, 100_000, 100_001])
@pytest.mark.parametrize("piece", [999, 1000, 1001, PIECE_BYTES])
async def test_blobs_are_put_in_while_the_form_is_sent(vendor: Vendor, size: int, piece: int) -> None:
    """Whatever the length and the pieces: with one, two or no padding. A bare face gets the head of a data URL."""
    blobs = Kept(piece)
    content, url = video_of(size)
    face = base64.b64encode(b"\x89PNG\r\n\x1a\n" + b"f" * 9001).decode()
    await send(vendor, VideoSwap(source=blobs.add(face), target=blobs.add(url)), blobs)
    assert vendor.fields["targetFile"] == ("video/mp4", content)
    assert vendor.fields["sourceBase64"] == f"data:image/png;base64,{face}"


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("", "neither a link"),
        (PNG, "neither a link"),
        ("AAAA", "neither a link"),
        ("data:video/mp4;base64,A*AA", "not a data URL in base64"),
    ],
)
async def test_what_is_no_video_is_not_sent(vendor: Vendor, target: str, says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        await send(vendor, VideoSwap(source=PNG, target=target))
    assert vendor.came == 0


@pytest.mark.parametrize("text", [PNG + "A" * 20_000, "A" * 20_000, "data:video/mp4;base64," + "*" * 9000])
async def test_a_blob_that_is_no_video_is_not_sent(vendor: Vendor, text: str) -> None:
    blobs = Kept()
    with pytest.raises(InvalidRequest, match="not the data URL of a video"):
        await send(vendor, VideoSwap(source=PNG, target=blobs.add(text)), blobs)
    assert vendor.came == 0
