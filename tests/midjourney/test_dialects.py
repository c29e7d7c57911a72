"""What goes out, dialect by dialect and field by field, as the protocol notes have it (sections a.1 to a.4 and e).

The table is written out by hand: a dialect's data and this file are two readings of the same pages.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import unquote

import pytest

from midjourney.buttons import Button
from midjourney.client import Client
from midjourney.dialects import DIALECTS, Upstream
from midjourney.errors import InvalidRequest
from midjourney.presses import presses
from midjourney.requests import (
    KINDS,
    Blend,
    Cancel,
    Describe,
    Edit,
    Imagine,
    Modal,
    Request,
    Retexture,
    Shorten,
    Show,
    SimpleChange,
    Swap,
    Video,
    VideoSwap,
)
from midjourney.types import Task

PNG = "data:image/png;base64,iVBORw0KGgo="
UUID = "0ddb91a0-af46-4ae9-8e8e-c271074eb6e6"
HOOK, STATE, KEY = "https://hooks.example.org/notify/t/s", "s-1", "sk-1"
MARK = {"notifyHook": HOOK, "state": STATE}
BOT = {"botType": "MID_JOURNEY"}

WITH_BUTTONS = ("mj-plus", "trueai", "new-api", "147ai", "v1-relay", "wenwen")
WITHOUT = ("novicezk", "mj-proxy-2")

HEADERS = {
    "mj-plus": {"mj-api-secret": KEY, "authorization": f"Bearer {KEY}"},
    "novicezk": {"mj-api-secret": KEY},
    "mj-proxy-2": {"mj-api-secret": KEY, "authorization": f"Bearer {KEY}"},
    "trueai": {"mj-api-secret": KEY, "authorization": KEY},
    "new-api": {"authorization": f"Bearer {KEY}"},
    "147ai": {"authorization": KEY},
    "v1-relay": {"authorization": f"Bearer {KEY}"},
    "wenwen": {"authorization": KEY},
}
PREFIX = {name: "/v1/mj" if name == "v1-relay" else "/mj" for name in DIALECTS}


def grid(dialect: str) -> Task:
    """A finished imagine, with buttons where the dialect sends them."""
    offered = [
        *(f"upsample::{n}" for n in (1, 2, 3, 4)),
        *(f"variation::{n}" for n in (1, 2, 3, 4)),
        "reroll::0",
    ]
    buttons = tuple(Button(custom_id=f"MJ::JOB::{verb}::{UUID}") for verb in offered)
    return Task(
        id="7", status="SUCCESS", action="IMAGINE", buttons=buttons if dialect in WITH_BUTTONS else ()
    )


def single() -> Task:
    """A finished upscale, with some of its buttons."""
    ids = (f"MJ::CustomZoom::{UUID}", f"MJ::Inpaint::1::{UUID}::SOLO", f"MJ::Outpaint::50::1::{UUID}::SOLO")
    return Task(
        id="7", status="SUCCESS", action="UPSCALE", buttons=tuple(Button(custom_id=one) for one in ids)
    )


def opened(dialect: str, wanted: str) -> Request:
    (press,) = presses(single(), wanted, DIALECTS[dialect])
    return press.request


def pressed(dialect: str, wanted: str) -> list[Request]:
    return [press.request for press in presses(grid(dialect), wanted, DIALECTS[dialect])]


def action(custom_id: str) -> dict[str, Any]:
    return {"taskId": "7", "customId": custom_id} | MARK


def change(verb: str, index: int | None = None) -> dict[str, Any]:
    return {"taskId": "7", "action": verb} | ({} if index is None else {"index": index}) | MARK


Row = tuple[str, Any, str, dict[str, Any] | None]


def rows(dialect: str) -> list[Row]:
    """(what, request, path under the prefix, body)."""
    bot = BOT if dialect in WITH_BUTTONS else {}
    one_image = {"base64": PNG} if dialect == "mj-proxy-2" else {"base64Array": [PNG]}
    found: list[Row] = [
        ("imagine", Imagine(prompt="a cat"), "submit/imagine", {"prompt": "a cat"} | bot | MARK),
        (
            "imagine with an image",
            Imagine(prompt="a cat", images=(PNG,)),
            "submit/imagine",
            {"prompt": "a cat"} | one_image | bot | MARK,
        ),
        (
            "blend",
            Blend(images=(PNG, PNG), dimensions="SQUARE"),
            "submit/blend",
            {"base64Array": [PNG, PNG], "dimensions": "SQUARE"} | bot | MARK,
        ),
        ("describe", Describe(image=PNG), "submit/describe", {"base64": PNG} | MARK),
    ]
    if dialect in WITHOUT:
        for number in (1, 2, 3, 4):
            (request,) = pressed(dialect, f"U{number}")
            found.append((f"U{number}", request, "submit/change", change("UPSCALE", number)))
        found.append(("vary", pressed(dialect, "V2")[0], "submit/change", change("VARIATION", 2)))
        found.append(("reroll", pressed(dialect, "reroll")[0], "submit/change", change("REROLL")))
        found.append(
            ("simple", SimpleChange(content="7 U2"), "submit/simple-change", {"content": "7 U2"} | MARK)
        )
        return found
    for number in (1, 2, 3, 4):
        (request,) = pressed(dialect, f"U{number}")
        custom_id = f"MJ::JOB::upsample::{number}::{UUID}"
        found.append((f"U{number}", request, "submit/action", action(custom_id)))
    found += [
        ("vary", pressed(dialect, "V2")[0], "submit/action", action(f"MJ::JOB::variation::2::{UUID}")),
        ("reroll", pressed(dialect, "reroll")[0], "submit/action", action(f"MJ::JOB::reroll::0::{UUID}")),
        ("custom zoom", opened(dialect, "custom_zoom"), "submit/action", action(f"MJ::CustomZoom::{UUID}")),
        (
            "vary region",
            opened(dialect, "vary_region"),
            "submit/action",
            action(f"MJ::Inpaint::1::{UUID}::SOLO"),
        ),
        (
            "custom zoom's modal",
            Modal(task_id="8", prompt="a cat --zoom 1.8"),
            "submit/modal",
            {"taskId": "8", "prompt": "a cat --zoom 1.8"},
        ),
        (
            "vary region's modal",
            Modal(task_id="8", prompt="a dog", mask=PNG),
            "submit/modal",
            {"taskId": "8", "prompt": "a dog", "maskBase64": PNG},
        ),
        (
            "face swap",
            Swap(source=PNG, target=PNG),
            "insight-face/swap",
            {"sourceBase64": PNG, "targetBase64": PNG} | MARK,
        ),
    ]
    if dialect != "wenwen":
        found.append(("shorten", Shorten(prompt="x y"), "submit/shorten", {"prompt": "x y"} | bot | MARK))
    if dialect in ("mj-plus", "trueai"):
        found.append(("cancel", Cancel(task_id="8"), "task/8/cancel", None))
    if dialect in ("trueai", "new-api", "wenwen"):
        edit = {"prompt": "a hat", "image": PNG, "maskBase64": PNG}
        found.append(("edit", Edit(prompt="a hat", image=PNG, mask=PNG), "submit/edits", edit | MARK))
    if dialect in ("trueai", "new-api"):
        video = {"motion": "high", "prompt": "run", "image": PNG}
        found.append(("video", Video(prompt="run", image=PNG, motion="high"), "submit/video", video | MARK))
    if dialect == "trueai":
        wool = {"prompt": "wool", "image": PNG}
        found.append(("retexture", Retexture(prompt="wool", image=PNG), "submit/retexture", wool | MARK))
        found.append(("show", Show(job_id=f" {UUID} "), "submit/show", {"jobId": UUID} | MARK))
    return found


TABLE = [(dialect, *row) for dialect in DIALECTS for row in rows(dialect)]


class Recorder:
    """An upstream that keeps the last request whole."""

    def __init__(self) -> None:
        self.url = ""
        self.line = ""
        self.headers: dict[str, str] = {}
        self.body: Any = None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.line, *lines = head.strip().split("\r\n")
        self.headers = dict(line.lower().split(": ", 1) for line in lines)
        length = int(self.headers.get("content-length", "0"))
        self.body = json.loads(await reader.readexactly(length)) if length else None
        body = b'{"code":1,"description":"ok","result":"9"}'
        writer.write(b"HTTP/1.1 200 X\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        writer.close()


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    made = Recorder()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


@pytest.mark.parametrize(
    ("dialect", "what", "request_", "path", "body"), TABLE, ids=[f"{row[0]}: {row[1]}" for row in TABLE]
)
async def test_what_is_sent(
    recorder: Recorder, dialect: str, what: str, request_: Request, path: str, body: dict[str, Any] | None
) -> None:
    """Method, path, the headers that carry the key and no others, and the body's every field."""
    client = Client(Upstream(url=recorder.url, key=KEY, dialect=dialect), DIALECTS[dialect])
    reply = await client.submit(request_, notify_hook=HOOK, state=STATE)
    await client.aclose()
    assert reply.verdict.ids == ("9",), what
    assert recorder.line == f"POST {PREFIX[dialect]}/{path} HTTP/1.1"
    carrying = {
        name: recorder.headers[name]
        for name in ("authorization", "mj-api-secret")
        if name in recorder.headers
    }
    assert carrying == {name: value.lower() for name, value in HEADERS[dialect].items()}
    assert recorder.body == body


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_rule_of_buttons_works_where_there_are_none(dialect: str) -> None:
    """ "U*" is four upscales and "V1" one variation, whatever the wire calls them."""
    assert len(pressed(dialect, "U*")) == 4
    assert len(pressed(dialect, "upscale")) == 4
    assert len(pressed(dialect, "V1")) == 1


EXAMPLES: dict[str, Request] = {
    "shorten": Shorten(prompt="x"),
    "edit": Edit(prompt="x", image=PNG),
    "video": Video(image=PNG),
    "cancel": Cancel(task_id="1"),
    "modal": Modal(task_id="1"),
    "swap": Swap(source=PNG, target=PNG),
    "retexture": Retexture(prompt="x", image=PNG),
    "show": Show(job_id="x"),
    "video_swap": VideoSwap(source=PNG, target="https://a.example/a.mp4"),
    "simple_change": SimpleChange(content="1 U1"),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("kind", EXAMPLES)
async def test_what_a_dialect_has_no_endpoint_for_is_not_sent(dialect: str, kind: str) -> None:
    """The error names the dialect, and what there is."""
    if DIALECTS[dialect].has(kind):
        return
    client = Client(Upstream(url="http://127.0.0.1:9"), DIALECTS[dialect])
    with pytest.raises(InvalidRequest, match=f"dialect {dialect} has no {kind}; it has: imagine"):
        await client.submit(EXAMPLES[kind])
    await client.aclose()


def test_every_kind_of_request_is_known_to_some_dialect() -> None:
    """No request that nobody takes."""
    assert {kind for kind in KINDS if any(dialect.has(kind) for dialect in DIALECTS.values())} == set(KINDS)


@pytest.mark.parametrize("task_id", ["a b", "é", "17:1", "task_x-9~.=", "...", "a..b"])
def test_a_task_id_is_one_part_of_a_path(task_id: str) -> None:
    """It comes from outside, and our key goes along with the question."""
    path = DIALECTS["mj-plus"].path("fetch", task_id)
    assert unquote(path.removeprefix("/mj/task/").removesuffix("/fetch")) == task_id
    assert (path.count("/"), " " in path) == (4, False)


LEADING_ELSEWHERE = [
    "", ".", "..", "../../account/list", "a/b", "..\\x", "1?x=2", "1#c", "%2e", "%2e%2e", "..;",
    "1\x00", "1\r\nx: y", "1\u202e2", "1" * 500_000,
]  # fmt: skip


@pytest.mark.parametrize("task_id", LEADING_ELSEWHERE, ids=range(len(LEADING_ELSEWHERE)))
def test_a_task_id_cannot_lead_elsewhere(task_id: str) -> None:
    """Quoted it could: clients and proxies resolve dots, some after they have decoded the path."""
    with pytest.raises(InvalidRequest, match="cannot be part of a path"):
        DIALECTS["mj-plus"].path("fetch", task_id)
