"""The client over a real socket: what it sends, and what it makes of silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from midjourney.client import Client, auth_headers, base_url
from midjourney.codes import Outcome
from midjourney.dialects import DIALECTS, Upstream
from midjourney.errors import NoAnswer, NotSent, UpstreamRefused
from midjourney.presses import presses
from midjourney.requests import Action, Change, Imagine, Modal, Request, decode_request, encode_request
from midjourney.types import Task

PNG = "data:image/png;base64,iVBORw0KGgo="
TASK = {"id": "1", "status": "SUCCESS", "progress": "100%"}


class Wire:
    """A socket that keeps what was sent and answers with these bytes; None hangs up."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.bodies: list[Any] = []
        self.answer: bytes | None = b""
        self.url = ""

    def respond(self, status: int, body: bytes, *headers: str) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *headers]
        self.answer = "\r\n".join([*lines, "", ""]).encode() + body

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        length = [
            line.split(":")[1] for line in head.lower().splitlines() if line.startswith("content-length")
        ]
        self.heads.append(head)
        if length:
            self.bodies.append(json.loads(await reader.readexactly(int(length[0]))))
        if self.answer is not None:
            writer.write(self.answer)
        writer.close()


@pytest.fixture
async def wire() -> AsyncIterator[Wire]:
    made = Wire()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield made


@pytest.fixture
async def client(wire: Wire) -> AsyncIterator[Callable[..., Client]]:
    made: list[Client] = []

    def connect(**fields: Any) -> Client:
        upstream = Upstream(url=wire.url, key="sk-secret", timeout_s=1.0)
        told = msgspec.structs.replace(upstream, **fields)
        made.append(Client(told, DIALECTS[told.dialect]))
        return made[-1]

    yield connect
    for one in made:
        await one.aclose()


@pytest.mark.parametrize(
    ("request_", "path", "body"),
    [
        (Imagine(prompt="a cat", images=(PNG,), bot_type="NIJI_JOURNEY", extra={"mode": "FAST"}), "imagine",
         {"prompt": "a cat", "base64Array": [PNG], "botType": "NIJI_JOURNEY", "mode": "FAST", "notifyHook": "h", "state": "s"}),
        (Action(task_id="1", custom_id="MJ::x"), "action", {"taskId": "1", "customId": "MJ::x", "notifyHook": "h", "state": "s"}),
        (Change(task_id="1", action="UPSCALE", index=2), "change",
         {"taskId": "1", "action": "UPSCALE", "index": 2, "notifyHook": "h", "state": "s"}),
        (Change(task_id="1", action="REROLL"), "change", {"taskId": "1", "action": "REROLL", "notifyHook": "h", "state": "s"}),
        (Modal(task_id="1", prompt="p", mask=PNG), "modal", {"taskId": "1", "prompt": "p", "maskBase64": PNG}),
    ],
)  # fmt: skip
async def test_a_submission_goes_to_its_endpoint(
    wire: Wire, client: Callable[..., Client], request_: Request, path: str, body: dict[str, Any]
) -> None:
    """With hook and state where the endpoint takes them; it survives being stored."""
    wire.respond(200, b'{"code":1,"description":"ok","result":"5"}')
    reply = await client().submit(decode_request(encode_request(request_)), notify_hook="h", state="s")
    assert reply.verdict.ids == ("5",)
    assert wire.heads[0].startswith(f"POST /mj/submit/{path} HTTP/1.1")
    assert wire.bodies == [body]


async def test_silence_after_sending_is_told_from_a_connection_that_never_was(
    wire: Wire, client: Callable[..., Client]
) -> None:
    """The one may have cost money, the other cannot have."""
    wire.answer = None
    with pytest.raises(NoAnswer):
        await client().submit(Imagine(prompt="x"))
    with pytest.raises(NotSent):
        await client(url="http://127.0.0.1:9").submit(Imagine(prompt="x"))
    assert len(wire.heads) == 1


async def test_retry_after_is_read(wire: Wire, client: Callable[..., Client]) -> None:
    """In seconds; a date is left alone."""
    wire.respond(429, b"", "retry-after: 7")
    assert (await client().submit(Imagine(prompt="x"))).verdict.retry_after_s == 7
    wire.respond(429, b"", "retry-after: Wed, 21 Oct 2026 07:28:00 GMT")
    reply = await client().submit(Imagine(prompt="x"))
    assert (reply.verdict.outcome, reply.verdict.retry_after_s) == (Outcome.REJECTED, None)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b""),
        (204, b""),
        (400, b'{"description":"task_no_found ","type":"upstream_error","code":4}'),
        (200, b'{"code":4}'),
        (404, b""),
    ],
)
async def test_a_task_that_the_upstream_does_not_know_is_none(
    wire: Wire, client: Callable[..., Client], status: int, body: bytes
) -> None:
    """In each dialect's own words."""
    wire.respond(status, body)
    assert await client().fetch("1") is None


async def test_tasks_are_fetched_and_listed(wire: Wire, client: Callable[..., Client]) -> None:
    """One, some, all; JSON that comes as text/plain too."""
    wire.respond(200, json.dumps(TASK).encode(), "content-type: text/plain; charset=utf-8")
    task = await client().fetch("1")
    assert task is not None
    assert task.is_finished
    wire.respond(200, json.dumps([TASK, {"no": "task"}]).encode())
    assert [one.id for one in await client().list_by_condition(["1", "2"])] == ["1"]
    assert wire.bodies == [{"ids": ["1", "2"]}]
    assert [one.id for one in await client().list_all()] == ["1"]


@pytest.mark.parametrize(("status", "body"), [(500, b"<html>"), (200, b"<html>"), (401, b"")])
async def test_an_error_is_not_taken_for_an_answer(
    wire: Wire, client: Callable[..., Client], status: int, body: bytes
) -> None:
    """And the key is in no message."""
    wire.respond(status, body)
    for ask in (client().fetch("1"), client().list_all(), client().list_by_condition(["1"])):
        with pytest.raises(UpstreamRefused) as raised:
            await ask
        assert raised.value.status == status
        assert "sk-secret" not in str(raised.value)


def test_the_key_goes_where_the_dialect_reads_it() -> None:
    """Plus by mj-api-secret, relays by Bearer, trueai raw; nothing without a key."""
    assert auth_headers("k", DIALECTS["mj-plus"]) == {"mj-api-secret": "k", "authorization": "Bearer k"}
    assert auth_headers("k", DIALECTS["trueai"]) == {"mj-api-secret": "k", "authorization": "k"}
    assert auth_headers("k", DIALECTS["novicezk"]) == {"mj-api-secret": "k"}
    assert auth_headers("", DIALECTS["mj-plus"]) == {}


def test_an_address_may_hold_the_prefix() -> None:
    """People give it both ways."""
    plus = DIALECTS["mj-plus"]
    assert base_url("http://x/mj/", plus) == base_url("http://x", plus) == "http://x"
    assert base_url("http://x/mj-fast/mj", plus) == "http://x/mj-fast"


def test_without_buttons_a_press_is_a_change() -> None:
    """novicezk: U1 to U4, V1 to V4 and R are indexes."""
    task = Task(id="1", status="SUCCESS", action="IMAGINE")
    made = presses(task, "U*", DIALECTS["novicezk"])
    assert [(press.label, press.action) for press in made] == [(f"U{n}", "UPSCALE") for n in (1, 2, 3, 4)]
    assert made[1].request == Change(task_id="1", action="UPSCALE", index=2)
    assert [press.request for press in presses(task, "reroll", DIALECTS["novicezk"])] == [
        Change(task_id="1", action="REROLL")
    ]
    assert presses(task, "U1", DIALECTS["mj-plus"]) == []
