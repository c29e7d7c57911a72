"""A submission in a speed mode goes where its vendor serves that mode, and everything else goes where it went before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from midjourney.client import Client
from midjourney.dialects import DIALECTS, Dialect, Upstream
from midjourney.errors import InvalidRequest, UpstreamRefused
from midjourney.requests import Action, Cancel, Imagine, Request

HK = msgspec.structs.replace(DIALECTS["new-api"], modes={"fast": "/fast/mj", "relax": "/relax/mj"})
V1 = msgspec.structs.replace(DIALECTS["v1-relay"], modes={"fast": "/v1/mj-fast/mj"})


class Seen:
    """What an upstream received: the path and the body of each request."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[tuple[str, Any]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(headers.get("content-length", "0"))
        body = json.loads(await reader.readexactly(length)) if length else None
        self.requests.append((first.split(" ")[1], body))
        answer = b'{"code":1,"description":"ok","result":"9"}'
        writer.write(
            b"HTTP/1.1 200 X\r\nconnection: close\r\ncontent-length: %d\r\n\r\n%s" % (len(answer), answer)
        )
        writer.close()


@pytest.fixture
async def seen() -> AsyncIterator[Seen]:
    made = Seen()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


async def sent(seen: Seen, dialect: Dialect, mode: str, request: Request, *, at: str = "") -> tuple[str, Any]:
    """The path and the body of a request in a mode, to an upstream whose URL ends in `at`."""
    client = Client(Upstream(url=seen.url + at), dialect)
    await client.submit(request, mode=mode)
    await client.aclose()
    return seen.requests[-1]


IMAGINE = Imagine(prompt="a cat")
PRESS = Action(task_id="7", custom_id="MJ::JOB::upsample::1::u")


@pytest.mark.parametrize(
    ("dialect", "mode", "at", "path"),
    [
        (DIALECTS["trueai"], "fast", "", "/mj-fast/mj/submit/imagine"),
        (DIALECTS["trueai"], "relax", "/mj", "/mj-relax/mj/submit/imagine"),
        (DIALECTS["trueai"], "", "/mj-fast", "/mj-fast/mj/submit/imagine"),
        (DIALECTS["trueai"], "relax", "/mj-fast", "/mj-relax/mj/submit/imagine"),
        (DIALECTS["trueai"], "relax", "/mj-fast/mj", "/mj-relax/mj/submit/imagine"),
        (DIALECTS["new-api"], "turbo", "/behind/mj-relax/", "/behind/mj-turbo/mj/submit/imagine"),
        (DIALECTS["new-api"], "turbo", "/fast", "/mj-turbo/mj/submit/imagine"),
        (HK, "fast", "", "/fast/mj/submit/imagine"),
        (HK, "relax", "/fast", "/relax/mj/submit/imagine"),
        (HK, "", "/fast", "/fast/mj/submit/imagine"),
        (V1, "fast", "", "/v1/mj-fast/mj/submit/imagine"),
    ],
)
async def test_the_path_has_the_mode(seen: Seen, dialect: Dialect, mode: str, at: str, path: str) -> None:
    """It replaces the mode in the upstream's URL."""
    assert (await sent(seen, dialect, mode, IMAGINE, at=at))[0] == path


async def test_the_body_has_the_mode(seen: Seen) -> None:
    """Where the vendor reads it there; a field that the caller wrote goes before it."""
    vendor = DIALECTS["147ai"]
    assert await sent(seen, vendor, "relax", PRESS) == (
        "/mj/submit/action",
        {"taskId": "7", "customId": PRESS.custom_id, "mode": "RELAX"},
    )
    own = msgspec.structs.replace(IMAGINE, extra={"mode": "Turbo"})
    assert (await sent(seen, vendor, "relax", own))[1]["mode"] == "Turbo"


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_without_a_mode_nothing_changes(seen: Seen, dialect: str) -> None:
    """Neither the path nor the body says anything about modes."""
    path, body = await sent(seen, DIALECTS[dialect], "", IMAGINE)
    assert path == f"{DIALECTS[dialect].prefix}/submit/imagine"
    assert "mode" not in body


async def test_a_task_in_a_mode_is_asked_for_without_it(seen: Seen) -> None:
    """Its id is the same in every mode."""
    client = Client(Upstream(url=f"{seen.url}/mj-fast"), DIALECTS["trueai"])
    await client.submit(Cancel(task_id="7"), mode="relax")
    with pytest.raises(UpstreamRefused):  # the answer to a submission is no task
        await client.fetch("7")
    await client.aclose()
    assert [path for path, _ in seen.requests] == ["/mj-relax/mj/task/7/cancel", "/mj-fast/mj/task/7/fetch"]


@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_mode_that_the_vendor_does_not_have_is_not_sent(seen: Seen, dialect: str) -> None:
    """It is refused before anything leaves, with those that there are."""
    with pytest.raises(InvalidRequest, match=f"dialect {dialect} has no mode 'slow'; it has: (fast|none)"):
        await sent(seen, DIALECTS[dialect], "slow", IMAGINE)
    assert seen.requests == []
