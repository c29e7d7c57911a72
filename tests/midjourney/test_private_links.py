"""Private links at the last gate: no kind of request carries one to an upstream, however it came there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from midjourney.client import Client
from midjourney.dialects import DIALECTS, Upstream
from midjourney.errors import InvalidRequest, NotSent
from midjourney.requests import (
    Blend,
    Describe,
    Edit,
    Imagine,
    Modal,
    Request,
    Retexture,
    Shorten,
    Show,
    Swap,
    Video,
    VideoSwap,
)

PNG_BYTES = b"\x89PNG\r\n\x1a\n rest"
PNG = "data:image/png;base64,iVBORw0KGgogcmVzdA=="
PRIVATE = "http://localhost:3000/mj/image/1?sig=secret"
PUBLIC = "https://cdn.example.com/a.png"


class Site:
    """An upstream that takes every submit, and a web server with pictures, in one."""

    def __init__(self) -> None:
        self.bodies: list[Any] = []
        self.asked: list[str] = []
        self.picture = (200, PNG_BYTES)
        self.host = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        method, path, *_ = head.split(" ")
        status, body = self.picture
        if method == "POST":
            length = next(line for line in head.lower().splitlines() if line.startswith("content-length"))
            self.bodies.append(json.loads(await reader.readexactly(int(length.split(":")[1]))))
            status, body = 200, b'{"code":1,"description":"ok","result":"5"}'
        else:
            self.asked.append(path)
        writer.write(f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body)
        writer.close()


@pytest.fixture
async def start_site() -> AsyncIterator[Callable[[], Any]]:
    servers: list[asyncio.Server] = []

    async def start() -> Site:
        site = Site()
        servers.append(await asyncio.start_server(site.serve, "127.0.0.1", 0))
        site.host = f"127.0.0.1:{servers[-1].sockets[0].getsockname()[1]}"
        return site

    yield start
    for server in servers:
        server.close()


async def sent(upstream: Site, request: Request, dialect: str = "trueai", **fields: Any) -> list[Any]:
    """What reached the upstream."""
    client = Client(Upstream(url=f"http://{upstream.host}", dialect=dialect, **fields), DIALECTS[dialect])
    try:
        await client.submit(request)
    finally:
        await client.aclose()
    return upstream.bodies


EVERYWHERE = [
    ("images[0]", Imagine(prompt="a cat", images=(PRIVATE,))),
    ("images[1]", Blend(images=(PUBLIC, PRIVATE))),
    ("image", Describe(image=PRIVATE)),
    ("image", Edit(prompt="a cat", image=PRIVATE)),
    ("mask", Edit(prompt="a cat", image=PUBLIC, mask=PRIVATE)),
    ("source", Swap(source=PRIVATE, target=PUBLIC)),
    ("target", Swap(source=PUBLIC, target=PRIVATE)),
    ("image", Retexture(prompt="a cat", image=PRIVATE)),
    ("source", VideoSwap(source=PRIVATE, target=PUBLIC)),
    ("target", VideoSwap(source=PUBLIC, target=PRIVATE)),
    ("prompt", Retexture(prompt=f"{PRIVATE} a cat", image=PUBLIC)),
    ("job_id", Show(job_id=PRIVATE)),
    ("image", Video(image=PRIVATE)),
    ("end_image", Video(image=PUBLIC, end_image=PRIVATE)),
    ("mask", Modal(task_id="1", mask=PRIVATE)),
    ("prompt", Imagine(prompt=f"{PRIVATE} a cat")),
    ("prompt", Imagine(prompt=f"a cat --sref {PUBLIC} {PRIVATE} --ar 1:1")),
    ("prompt", Shorten(prompt=f"{PRIVATE} a cat")),
    ("prompt", Edit(prompt=f"{PRIVATE} a cat", image=PUBLIC)),
    ("prompt", Video(prompt=PRIVATE, image=PUBLIC)),
    ("prompt", Modal(task_id="1", prompt=f"{PRIVATE} a cat")),
    ("extra.base64Array", Imagine(prompt="a cat", extra={"base64Array": [PRIVATE]})),
    ("extra.options", Describe(image=PUBLIC, extra={"options": {"deep": [{"link": PRIVATE}]}})),
    ("extra.prompt", Imagine(prompt="a cat", extra={"prompt": f"{PRIVATE} a cat"})),
]


@pytest.mark.parametrize(("field", "request_"), EVERYWHERE)
async def test_no_field_carries_one(start_site: Any, field: str, request_: Request) -> None:
    """Refused before anything is sent: which field, which address without its secrets, and what to do."""
    upstream = await start_site()
    with pytest.raises(InvalidRequest) as raised:
        await sent(upstream, request_)
    assert str(raised.value).startswith(
        f"{field}: http://localhost:3000/mj/image/1 is an address in a private network"
    )
    assert "secret" not in str(raised.value)
    assert "private_hosts" in str(raised.value)
    assert upstream.bodies == []


async def test_a_public_link_and_a_hook_inside_the_network_are_sent(start_site: Any) -> None:
    """A picture's link where the dialect takes links; the hook is called by the upstream itself, which may be a neighbour."""
    upstream = await start_site()
    extra = {"notifyHook": "http://minio:9000/notify", "state": "http://localhost/my/1"}
    (body,) = await sent(upstream, Imagine(prompt=f"{PUBLIC} a cat", images=(PUBLIC,), extra=extra))
    assert (body["base64Array"], body["notifyHook"]) == ([PUBLIC], "http://minio:9000/notify")


@pytest.mark.parametrize("dialect", ["trueai", "mj-plus"])
async def test_a_named_host_is_loaded_and_sent_as_data(start_site: Any, dialect: str) -> None:
    """Whether the dialect takes links or not; at its own port only."""
    upstream, store, other = [await start_site() for _ in range(3)]
    links = (f"http://{store.host}/a.png?sig=1", PNG)
    (body,) = await sent(upstream, Blend(images=links), dialect, private_hosts=[store.host])
    assert (body["base64Array"], store.asked) == ([PNG, PNG], ["/a.png?sig=1"])
    with pytest.raises(InvalidRequest, match=r"images\[0\]: .* private network"):
        await sent(
            upstream, Blend(images=(f"http://{other.host}/a.png", PNG)), dialect, private_hosts=[store.host]
        )
    assert (len(upstream.bodies), other.asked) == (1, [])


async def test_the_upstreams_own_pictures_are_loaded(start_site: Any) -> None:
    """At its scheme, host and port, and without being named."""
    upstream = await start_site()
    (body,) = await sent(upstream, Describe(image=f"http://{upstream.host}/mj/image/1"))
    assert (body["base64"], upstream.asked) == (PNG, ["/mj/image/1"])


@pytest.mark.parametrize(
    ("picture", "raises"),
    [((404, b""), InvalidRequest), ((200, b"<html>a page</html>"), InvalidRequest), ((503, b""), NotSent)],
)
async def test_an_image_that_cannot_be_had_costs_nothing(
    start_site: Any, picture: tuple[int, bytes], raises: type[Exception]
) -> None:
    """What is gone, or is no image, ends the submission; a server that is ill is asked again later."""
    upstream, store = [await start_site() for _ in range(2)]
    store.picture = picture
    with pytest.raises(raises):
        await sent(upstream, Describe(image=f"http://{store.host}/a.png"), private_hosts=[store.host])
    assert upstream.bodies == []
