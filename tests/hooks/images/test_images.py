"""Pictures through our own address: of tasks we know, from where they may be had, and never more at once than we can take."""

from __future__ import annotations

import asyncio
import io
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from PIL import Image as Pillow
from starlette.requests import Request
from starlette.responses import Response

from dispatcher.plugins.chain import UpstreamHandle
from hooks.app import create_app
from hooks.auth import Admin
from hooks.hook_tokens import NotifyTokens, registered_token
from hooks.images.proxy import Handler, Images, image_path
from hooks.ingest import Ingest
from hooks.problems import Problem
from midjourney.decode import decode_task
from midjourney.dialects import DIALECTS
from midjourney.errors import NoAnswer, NotSent, UpstreamRefused
from midjourney.links import Near
from storage import schema
from storage.engine import Database
from storage.records import Incoming
from tests.conftest import PATIENCE_S


def png(width: int = 64, height: int = 64, colour: str = "red") -> bytes:
    file = io.BytesIO()
    Pillow.new("RGB", (width, height), colour).save(file, "PNG")
    return file.getvalue()


def ok(body: bytes, *headers: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 X", f"content-length: {len(body)}", *headers, "", ""]).encode() + body


def status(code: int, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {code} X", "content-length: 0", *headers, "", ""]).encode()


ENDLESS = b"HTTP/1.1 200 X\r\n\r\n\x89PNG\r\n\x1a\n    "
NO_WIDTH: dict[str, Any] = {}
WIDTH: dict[str, Any] = {"width": 384}
HANG = b"after a while: "


class Gallery:
    """A server of pictures on loopback: what it answers at a path, who connected, what was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}
        self.connections = 0
        self.targets: list[str] = []
        self.url = ""
        self.asked = asyncio.Condition()
        self.go_on = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self._serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        target = head.split()[1]
        async with self.asked:
            self.targets.append(target)
            self.asked.notify_all()
        answer = self.answers.get(target.partition("?")[0], status(404))
        if answer.startswith(HANG):
            await self.go_on.wait()
            answer = answer.removeprefix(HANG)
        writer.write(answer)
        await writer.drain()
        while answer == ENDLESS:
            writer.write(bytes(1 << 20))
            await writer.drain()

    async def until(self, times: int) -> None:
        """Until so many requests have come."""
        async with asyncio.timeout(PATIENCE_S), self.asked:
            await self.asked.wait_for(lambda: len(self.targets) >= times)


async def opened() -> AsyncIterator[Gallery]:
    made = Gallery()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    made.go_on.set()
    server.close()


@pytest.fixture
async def gallery() -> AsyncIterator[Gallery]:
    """The upstream's own host and port."""
    async for made in opened():
        yield made


@pytest.fixture
async def forbidden() -> AsyncIterator[Gallery]:
    """Something else inside the network, that must see nobody."""
    async for made in opened():
        made.answers = {"/secret.png": ok(png())}
        yield made
        assert made.connections == 0


class Upstream:
    """What tells addresses anew: `fresh` is its answer, or what it fails by; None hangs."""

    def __init__(self) -> None:
        self.fresh: str | Exception | None = ""
        self.asked: list[str] = []

    async def refresh(self, task_id: str) -> str:
        self.asked.append(task_id)
        if self.fresh is None:
            await asyncio.Event().wait()
        if isinstance(self.fresh, Exception):
            raise self.fresh
        return self.fresh or ""


class Desk:
    """The application with pictures and callbacks, over one database."""

    def __init__(self, database: Database, gallery: Gallery, **options: Any) -> None:
        self.database = database
        self.upstream = Upstream()
        self.now_ms = time.time_ns() // 1_000_000
        place = UpstreamHandle(
            name="main",
            dialect=DIALECTS["mj-plus"],
            near=Near((gallery.url,)),
            refresh=self.upstream.refresh,
        )
        self.images = Images(database, {"main": place}, clock=lambda: self.now_ms, **options)
        hook = Ingest(database, NotifyTokens("s", ["main"]), body_limit_bytes=100_000)
        application = create_app(hook, self.images.routes(guard))
        transport = httpx.ASGITransport(application, client=("127.0.0.1", 50000))
        self.http = httpx.AsyncClient(transport=transport, base_url="http://localhost")

    async def keep(
        self, address: str, task_id: str = "17", upstream: str = "main", *, status: str = "SUCCESS"
    ) -> None:
        """A callback that shows this picture."""
        body = {"id": task_id, "status": status, "action": "IMAGINE", "imageUrl": address}
        await self.database.append(
            Incoming(
                upstream=upstream,
                task=decode_task(json.dumps(body).encode()),
                submission_id="",
                source="callback",
                received_at_ms=self.now_ms,
            )
        )

    def ending(self, seconds: float) -> str:
        """The `ex` of an address that ends so long after now."""
        return f"ex={int(self.now_ms / 1000 + seconds):x}&is=1&hm=ab&"

    async def get(self, path: str = "/images/main/17", **query: Any) -> httpx.Response:
        return await self.http.get(path, params=query or None)


def guard(handler: Handler) -> Handler:
    """As the API does it."""

    async def handle(request: Request) -> Response:
        try:
            Admin().check(request)
        except Problem as problem:
            return problem.response()
        return await handler(request)

    return handle


@pytest.fixture
async def desk_with(database: Database, gallery: Gallery) -> AsyncIterator[Callable[..., Desk]]:
    """A desk with options."""
    made: list[Desk] = []

    def make(**options: Any) -> Desk:
        made.append(Desk(database, gallery, **options))
        return made[-1]

    yield make
    for desk in made:
        await desk.http.aclose()
        await desk.images.aclose()


@pytest.fixture
async def desk(desk_with: Callable[..., Desk]) -> Desk:
    """A desk as it is shipped."""
    return desk_with()


async def test_the_original_comes_as_it_is(desk: Desk, gallery: Gallery) -> None:
    """Byte for byte, the query of its address too, and a browser makes nothing of it but a picture."""
    picture = png()
    gallery.answers["/a.png"] = ok(picture, "content-type: text/html")
    await desk.keep(f"{gallery.url}/a.png?x=%2F&y&")
    answer = await desk.get()
    assert (answer.status_code, answer.content) == (200, picture)
    assert gallery.targets == ["/a.png?x=%2F&y&"]
    assert {
        name: answer.headers[name]
        for name in (
            "content-type",
            "content-length",
            "x-content-type-options",
            "content-security-policy",
            "content-disposition",
            "cache-control",
        )
    } == {
        "content-type": "image/png",
        "content-length": str(len(picture)),
        "x-content-type-options": "nosniff",
        "content-security-policy": "default-src 'none'; sandbox",
        "content-disposition": 'inline; filename="17.png"',
        "cache-control": "private, no-cache",
    }


@pytest.mark.process
async def test_a_thumbnail_is_a_webp_made_once(desk: Desk, gallery: Gallery) -> None:
    """Of the width that was asked for; a smaller picture is not made larger."""
    gallery.answers["/a.png"] = ok(png(1000, 500))
    await desk.keep(f"{gallery.url}/a.png")
    for width, size in ((192, (192, 96)), (384, (384, 192)), (768, (768, 384)), (384, (384, 192))):
        answer = await desk.get(width=width)
        assert answer.headers["content-type"] == "image/webp"
        assert answer.headers["content-disposition"] == 'inline; filename="17.webp"'
        with Pillow.open(io.BytesIO(answer.content)) as small:
            assert (small.format, small.size) == ("WEBP", size)
    assert len(gallery.targets) == 3


@pytest.mark.parametrize("width", ["0", "193", "-384", "384px", "", "99999999"])
async def test_other_widths_are_refused(desk: Desk, gallery: Gallery, width: str) -> None:
    """They would be a way to fill the memory."""
    await desk.keep(f"{gallery.url}/a.png")
    answer = await desk.get(width=width)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert "192, 384, 768" in answer.json()["detail"]
    assert gallery.connections == 0


@pytest.mark.parametrize(
    "path", ["/images/main/18", "/images/other/17", "/images/main/", "/images/main/17/x"]
)
async def test_only_pictures_of_tasks_we_know_are_shown(desk: Desk, gallery: Gallery, path: str) -> None:
    """An address in the request's place counts for nothing."""
    await desk.keep(f"{gallery.url}/a.png")
    answer = await desk.get(path, url=f"{gallery.url}/a.png")
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"
    assert gallery.connections == 0


async def test_a_task_without_a_picture_has_none(desk: Desk) -> None:
    """It has just begun, or describes one."""
    await desk.keep("")
    assert (await desk.get()).status_code == 404


@pytest.mark.parametrize("name", ["a.mp4", "A.MP4", "a.webm"])
async def test_a_video_is_not_fetched(desk: Desk, gallery: Gallery, name: str) -> None:
    """It has hundreds of megabytes."""
    await desk.keep(f"{gallery.url}/{name}?ex=1")
    assert (await desk.get()).status_code == 415
    assert (gallery.connections, desk.upstream.asked) == (0, [])


async def test_a_private_address_is_not_connected_to(desk: Desk, forbidden: Gallery) -> None:
    """Another port of the upstream's own machine is not the upstream."""
    await desk.keep(f"{forbidden.url}/secret.png")
    for query in NO_WIDTH, WIDTH:
        answer = await desk.get(**query)
        assert answer.status_code == 502
        assert "in a private network" in answer.json()["detail"]


async def test_an_upstream_that_is_gone_from_the_configuration_owns_nothing(
    desk: Desk, forbidden: Gallery
) -> None:
    """Its tasks stay; what was its own is inside a network as everything there is."""
    await desk.keep(f"{forbidden.url}/secret.png", upstream="former")
    assert (await desk.get("/images/former/17")).status_code == 502


async def test_a_redirect_leads_no_further_than_an_address(
    desk: Desk, gallery: Gallery, forbidden: Gallery
) -> None:
    """From the own host to another private one: no. To itself: yes."""
    gallery.answers |= {
        "/out.png": status(302, f"location: {forbidden.url}/secret.png"),
        "/in.png": status(302, "location: /a.png"),
        "/a.png": ok(png()),
    }
    await desk.keep(f"{gallery.url}/out.png")
    answer = await desk.get()
    assert (answer.status_code, gallery.targets) == (502, ["/out.png"])
    await desk.keep(f"{gallery.url}/in.png", task_id="18")
    assert (await desk.get("/images/main/18")).status_code == 200


async def test_where_a_fresh_address_leads_is_checked_too(
    desk: Desk, gallery: Gallery, forbidden: Gallery
) -> None:
    """The upstream's word is a stranger's."""
    await desk.keep(f"{gallery.url}/gone.png")
    desk.upstream.fresh = f"{forbidden.url}/secret.png"
    assert (await desk.get()).status_code == 502
    assert desk.upstream.asked == ["17"]


@pytest.mark.parametrize(
    "body",
    [
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<html><script>alert(1)</script></html>",
        b"\0\0\0\x20ftypisom" + bytes(100),
        b"",
        b"RIFF0000WAVE",
    ],
)
async def test_what_is_no_picture_is_not_passed_on(desk: Desk, gallery: Gallery, body: bytes) -> None:
    """Whatever its header says."""
    gallery.answers["/a.png"] = ok(body, "content-type: image/png")
    await desk.keep(f"{gallery.url}/a.png")
    for query in NO_WIDTH, WIDTH:
        answer = await desk.get(**query)
        assert answer.status_code == 415
        assert answer.headers["content-type"] == "application/problem+json"
        assert "script" not in answer.text


@pytest.mark.parametrize(
    "answer", [ENDLESS, ENDLESS.replace(b"X\r\n", b"X\r\ncontent-length: 52428801\r\n", 1)]
)
async def test_what_is_too_large_is_not_had(desk: Desk, gallery: Gallery, answer: bytes) -> None:
    """More than 50 MB, whether it is said beforehand or not."""
    gallery.answers["/a.png"] = answer
    await desk.keep(f"{gallery.url}/a.png")
    given = await desk.get()
    assert given.status_code == 502
    assert "more than 52428800 bytes" in given.json()["detail"]


@pytest.mark.process
async def test_a_decompression_bomb_is_not_decoded(desk: Desk, gallery: Gallery) -> None:
    """Some kilobytes that claim 81 million pixels; and some that only begin like a picture."""
    file = io.BytesIO()
    Pillow.new("1", (9000, 9000)).save(file, "PNG")
    gallery.answers |= {"/bomb.png": ok(file.getvalue()), "/half.png": ok(png(500, 500)[:200])}
    for task_id, says in (("bomb", "9000 x 9000 pixels"), ("half", "cannot be read")):
        await desk.keep(f"{gallery.url}/{task_id}.png", task_id)
        answer = await desk.get(f"/images/main/{task_id}", width=384)
        assert answer.status_code == 415
        assert says in answer.json()["detail"]
    assert desk.images.thumbnails.held_bytes == 0


@pytest.mark.process
async def test_a_picture_that_does_not_come_is_a_502(
    desk_with: Callable[..., Desk], gallery: Gallery
) -> None:
    """With the reason, and without the signature of its address. What failed is tried again the next time."""
    desk = desk_with(timeout_s=1.0)
    gallery.answers["/a.png"] = HANG
    await desk.keep(f"{gallery.url}/a.png?hm=signed")
    answer = await desk.get(width=384)
    assert answer.status_code == 502
    assert "within 1 s" in answer.json()["detail"]
    assert "signed" not in answer.text
    gallery.answers["/a.png"] = status(500)
    assert (await desk.get(width=384)).status_code == 502
    gallery.answers["/a.png"] = ok(png())
    assert (await desk.get(width=384)).status_code == 200
    assert desk.upstream.asked == []


async def test_a_server_that_hangs_holds_up_nobody(desk_with: Callable[..., Desk], gallery: Gallery) -> None:
    """Two are under way and one waits: the next is told to come again, and callbacks are kept as ever."""
    desk = desk_with(queued=1)
    for number in range(4):
        gallery.answers[f"/{number}.png"] = HANG
        await desk.keep(f"{gallery.url}/{number}.png", str(number))
    hanging = [asyncio.create_task(desk.get(f"/images/main/{number}")) for number in range(2)]
    await gallery.until(2)
    hanging.append(asyncio.create_task(desk.get("/images/main/2")))
    waiting = asyncio.create_task(desk.get("/images/main/2", width=192))
    done, _ = await asyncio.wait([hanging[-1], waiting], return_when=asyncio.FIRST_COMPLETED)
    (refused,) = [task.result() for task in done]
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
    assert (await desk.get("/images/main/3")).status_code == 503
    body = {"id": "20", "status": "SUBMITTED"}
    assert (await desk.http.post(f"/notify/{registered_token('s', 'main')}", json=body)).status_code == 200
    assert [task for task in hanging[:2] if task.done()] == []
    assert len(gallery.targets) == 2
    gallery.go_on.set()
    await asyncio.gather(*hanging, waiting)
    gallery.answers["/3.png"] = ok(png())
    assert (await desk.get("/images/main/3")).status_code == 200


@pytest.mark.process
@pytest.mark.parametrize("query", [NO_WIDTH, WIDTH])
async def test_what_a_hundred_pages_show_is_fetched_once(
    desk: Desk, gallery: Gallery, query: dict[str, Any]
) -> None:
    """At the same moment."""
    gallery.answers["/a.png"] = HANG + ok(png())
    await desk.keep(f"{gallery.url}/a.png")
    pages = [asyncio.create_task(desk.get(**query)) for _ in range(100)]
    async with asyncio.timeout(PATIENCE_S):
        while desk.images.flights.waiters < 100:
            await asyncio.sleep(0)
    gallery.go_on.set()
    answers = await asyncio.gather(*pages)
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert len(gallery.targets) == 1


@pytest.mark.process
async def test_an_address_that_has_ended_is_asked_for_anew_once(desk: Desk, gallery: Gallery) -> None:
    """By all who want it together; what is told is remembered until it ends, and nothing is asked at the old one."""
    gallery.answers |= {"/old.png": ok(png()), "/new.png": ok(png(colour="blue"))}
    await desk.keep(f"{gallery.url}/old.png?{desk.ending(-60)}")
    desk.upstream.fresh = f"{gallery.url}/new.png?{desk.ending(3600)}"
    answers = await asyncio.gather(desk.get(), desk.get(width=192), desk.get(width=384))
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert desk.upstream.asked == ["17"]
    desk.now_ms += 1800_000
    assert (await desk.get()).content == png(colour="blue")
    assert desk.upstream.asked == ["17"]
    desk.now_ms += 1800_000
    desk.upstream.fresh = f"{gallery.url}/newer.png?{desk.ending(3600)}"
    gallery.answers["/newer.png"] = ok(png(colour="green"))
    assert (await desk.get()).content == png(colour="green")
    assert desk.upstream.asked == ["17", "17"]
    assert not any(target.startswith("/old.png") for target in gallery.targets)


async def test_a_newer_callback_goes_before_what_was_told(desk: Desk, gallery: Gallery) -> None:
    """It brings another picture, or another address of the same."""
    gallery.answers |= {"/new.png": ok(png()), "/final.png": ok(png(colour="blue"))}
    await desk.keep(f"{gallery.url}/gone.png", "18")
    desk.upstream.fresh = f"{gallery.url}/new.png"
    assert (await desk.get("/images/main/18")).content == png()

    def replace(connection: Any) -> None:
        payload = {"id": "18", "status": "SUCCESS", "imageUrl": f"{gallery.url}/final.png"}
        connection.execute(schema.events.update().values(payload=json.dumps(payload).encode()))

    await desk.database.write("test", replace)
    assert (await desk.get("/images/main/18")).content == png(colour="blue")


@pytest.mark.parametrize(
    "failure",
    [
        NotSent("unreachable"),
        NoAnswer("broken off"),
        UpstreamRefused("HTTP 500", status=500, body=""),
        None,
        "",
    ],
)
async def test_an_upstream_that_tells_nothing_is_asked_once_a_minute(
    desk_with: Callable[..., Desk],
    gallery: Gallery,
    failure: Exception | str | None,
) -> None:
    """And the picture is gone: 404."""
    desk = desk_with(refresh_within_s=0.1)
    await desk.keep(f"{gallery.url}/gone.png?{desk.ending(-60)}")
    desk.upstream.fresh = failure
    for seconds, asked in ((0, 1), (1, 1), (58, 1), (2, 2)):
        desk.now_ms += 1000 * seconds
        answer = await desk.get(width=384)
        assert answer.status_code == 404
        assert "answered HTTP 404" in answer.json()["detail"]
        assert len(desk.upstream.asked) == asked


@pytest.mark.process
async def test_thumbnails_take_so_much_memory_and_no_more(
    desk_with: Callable[..., Desk], gallery: Gallery
) -> None:
    """Those that were not asked for the longest go."""
    desk = desk_with(cache_bytes=8_000)
    for number in range(10):
        gallery.answers[f"/{number}.png"] = ok(png(200, 200))
        await desk.keep(f"{gallery.url}/{number}.png", str(number))
    for number in range(10):
        await desk.get("/images/main/0", width=192)
        await desk.get(f"/images/main/{number}", width=192)
        assert desk.images.thumbnails.held_bytes <= 8_000
    assert gallery.targets.count("/0.png") == 1
    await desk.get("/images/main/1", width=192)
    assert gallery.targets.count("/1.png") == 2


@pytest.mark.process
async def test_a_link_lasts_as_long_as_the_picture(desk: Desk, gallery: Gallery) -> None:
    """It changes with the address and not with its signature; one that is older than the picture is kept by nobody."""
    gallery.answers["/a.png"] = ok(png())
    address = f"{gallery.url}/a.png"
    await desk.keep(f"{address}?{desk.ending(3600)}")
    link = image_path("main", "17", f"{address}?ex=anything", 192)
    assert link == image_path("main", "17", address, 192)
    answer = await desk.get(link)
    assert answer.headers["content-type"] == "image/webp"
    assert answer.headers["cache-control"] == "private, max-age=86400, immutable"
    old = image_path("main", "17", f"{gallery.url}/progress.webp")
    assert (await desk.get(old)).headers["cache-control"] == "private, no-cache"


@pytest.mark.process
async def test_the_picture_takes_the_place_of_its_previews(desk: Desk, gallery: Gallery) -> None:
    """new-api shows them at one path, and tells them apart by a number in the query."""
    address = f"{gallery.url}/mj/image/17"
    preview, picture = (image_path("main", "17", one, 192) for one in (f"{address}?rand=5", address))
    assert preview != picture
    gallery.answers["/mj/image/17"] = ok(png(8, 8))
    await desk.keep(f"{address}?rand=5", status="IN_PROGRESS")
    first = await desk.get(preview)
    gallery.answers["/mj/image/17"] = ok(png(16, 16))
    await desk.keep(address)
    assert (await desk.get(picture)).content != first.content


@pytest.mark.parametrize("task_id", ['a"; filename="x.html', "a/b", "a b?c#d%2F", "任务", "..."])
async def test_any_task_has_a_link(desk: Desk, gallery: Gallery, task_id: str) -> None:
    """Whatever its id is made of; and the file's name is harmless."""
    gallery.answers["/a.png"] = ok(png())
    await desk.keep(f"{gallery.url}/a.png", task_id)
    answer = await desk.get(image_path("main", task_id, f"{gallery.url}/a.png"))
    assert answer.status_code == 200
    name = answer.headers["content-disposition"].removeprefix('inline; filename="').removesuffix('"')
    assert name.endswith(".png")
    assert re.fullmatch(r"[\w.-]+", name)


@pytest.mark.parametrize("address", ["", "https://cdn.example.com/a.mp4?ex=1"])
def test_what_is_no_picture_has_no_link(address: str) -> None:
    """The page shows something else there."""
    assert image_path("main", "17", address, 384) == ""


async def test_strangers_see_nothing(desk: Desk, gallery: Gallery) -> None:
    """The guard is asked before anything else."""
    await desk.keep(f"{gallery.url}/a.png")
    answer = await desk.http.get("/images/main/17", headers={"x-forwarded-for": "203.0.113.1"})
    assert (answer.status_code, gallery.connections) == (403, 0)
