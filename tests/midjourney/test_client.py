"""The client over a real socket: what it sends, and what it makes of silence."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
import pytest

from midjourney.client import Client
from midjourney.codes import Outcome
from midjourney.connections import auth_headers, base_url
from midjourney.dialects import DIALECTS, Upstream
from midjourney.errors import InvalidRequest, NoAnswer, NotSent, UpstreamRefused
from midjourney.image_data import BadImage
from midjourney.presses import presses
from midjourney.requests import (
    Action,
    Blend,
    Cancel,
    Change,
    Describe,
    Imagine,
    Modal,
    Request,
    SimpleChange,
    Video,
    decode_request,
    encode_request,
)
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
        if length and int(length[0]):
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
        upstream = Upstream(url=wire.url, key="sk-secret", timeout_s=30.0)
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


async def test_what_may_not_leave_any_more_does_not(wire: Wire, client: Callable[..., Client]) -> None:
    """It is asked when there is a connection, at the last moment: whatever held it up came before."""
    asked: list[int] = []

    def may_leave() -> bool:
        asked.append(len(wire.heads))
        return len(asked) > 1

    wire.respond(200, b'{"code":1,"description":"ok","result":"1"}')
    with pytest.raises(NotSent, match="delayed"):
        await client().submit(Imagine(prompt="x"), may_leave=may_leave)
    assert wire.heads == []
    assert (await client().submit(Imagine(prompt="x"), may_leave=may_leave)).status == 200
    assert asked == [0, 0]


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
        (404, b'{"code":4,"description":"gone"}'),
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
    assert [one.id for one in (await client().list_all()).tasks] == ["1"]


async def test_what_is_fetched_may_be_wrapped_and_in_the_words_of_the_dialect(wire: Wire) -> None:
    """One, some and all; the status is what the dialect says it is."""
    dialect = msgspec.structs.replace(DIALECTS["mj-plus"], statuses={"completed": "SUCCESS"})
    asking = Client(Upstream(url=wire.url, key="k"), dialect)
    completed = TASK | {"status": "completed", "imageUrl": "https://x"}
    wire.respond(200, json.dumps({"code": 1, "data": completed}).encode())
    fetched = await asking.fetch("1")
    wire.respond(200, json.dumps({"code": 1, "data": [completed]}).encode())
    listed = [*await asking.list_by_condition(["1"]), *(await asking.list_all()).tasks]
    await asking.aclose()
    assert fetched is not None
    assert [(one.id, one.status) for one in (fetched, *listed)] == [("1", "SUCCESS")] * 3


@pytest.mark.parametrize(
    ("status", "body"), [(500, b"<html>"), (200, b"<html>"), (401, b""), (404, b""), (405, b"")]
)
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


async def test_an_answer_that_cannot_be_used_shows_no_hook_and_says_why(
    wire: Wire, client: Callable[..., Client]
) -> None:
    """The hook, which some upstreams repeat first, is a credential; errors are logged, stored and shown."""
    hook = "http://h/notify/AbCdEfGhIjKlMnOpQrStUv_-/5f0c6a1be2d94f7788aa01bc"
    properties = {"notifyHook": hook, "finalPrompt": "z" * 300_000}
    wire.respond(200, json.dumps({"properties": properties, "id": "1", "status": "SUCCESS"}).encode())
    with pytest.raises(UpstreamRefused) as raised:
        await client().fetch("1")
    for said in (str(raised.value), raised.value.body):
        assert "AbCdEfGh" not in said
        assert '"notifyHook": "[redacted]"' in said
        assert "the answer cannot be used, " in said
        assert "more than 262144" in said


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


async def test_images_are_uploaded(wire: Wire, client: Callable[..., Client]) -> None:
    """As data URLs, whatever they were; their addresses come back in order."""
    wire.respond(200, b'{"code":1,"description":"ok","result":["https://c/a.png?x=1,2","https://c/b.png"]}')
    made = await client().upload([PNG, PNG.partition(",")[2]])
    assert made == ["https://c/a.png?x=1,2", "https://c/b.png"]
    assert wire.heads[0].startswith("POST /mj/submit/upload-discord-images HTTP/1.1")
    assert wire.bodies == [{"base64Array": [PNG, PNG]}]
    wire.respond(200, b'{"code":4,"description":"base64Array wrong"}')
    with pytest.raises(UpstreamRefused, match="base64Array wrong"):
        await client().upload([PNG])
    with pytest.raises(BadImage):
        await client().upload(["no image"])


async def test_seeds_and_links_are_asked_for(wire: Wire, client: Callable[..., Client]) -> None:
    """The seed of a picture, and its present address."""
    wire.respond(200, b'{"code":1,"description":"ok","result":"636646138"}')
    assert await client().image_seed("7") == "636646138"
    assert wire.heads[-1].startswith("GET /mj/task/7/image-seed HTTP/1.1")
    wire.respond(200, '{"code":4,"description":"任务状态错误"}'.encode())
    with pytest.raises(UpstreamRefused, match="任务状态错误"):
        await client().image_seed("7")
    wire.respond(200, json.dumps(TASK | {"imageUrl": "https://c/x.png?ex=1&"}).encode())
    assert await client().refresh("1") == "https://c/x.png?ex=1&"
    with pytest.raises(InvalidRequest, match="dialect novicezk has no image-seed"):
        await client(dialect="novicezk").image_seed("1")


async def test_a_task_is_cancelled(wire: Wire, client: Callable[..., Client]) -> None:
    """Without a body; Plus answers with an envelope, trueai with nothing."""
    for answer in (b'{"code":1,"description":"ok","result":"7"}', b'{"code":1,"description":"ok"}', b""):
        wire.respond(200, answer)
        reply = await client().submit(Cancel(task_id="7"))
        assert (reply.verdict.outcome, wire.bodies) == (Outcome.ACCEPTED, [])
    assert wire.heads[-1].startswith("POST /mj/task/7/cancel HTTP/1.1")
    wire.respond(200, '{"code":3,"description":"任务不存在或已失效"}'.encode())
    assert (await client().submit(Cancel(task_id="7"))).verdict.outcome is Outcome.REJECTED


async def test_a_refusal_tells_what_was_sent_what_came_back_and_which_field(
    wire: Wire, client: Callable[..., Client]
) -> None:
    """Without the key, which some upstreams repeat, without the hook, and without megabytes of base64."""
    wire.respond(400, b'{"code":4,"description":"key sk-secret: base64Array is wrong "}')
    big = "data:image/png;base64,iVBORw0KGgo" + "A" * 4000
    reply = await client().submit(Imagine(prompt="a cat", images=(big,)), notify_hook="https://h/token")
    assert "base64Array is wrong" in reply.message
    assert "the field is base64Array" in reply.message
    assert "POST /mj/submit/imagine" in reply.message
    assert '"prompt":"a cat"' in reply.message
    assert "HTTP 400" in reply.message
    assert len(reply.message) < 500
    for secret in ("sk-secret", "https://h/token", "AAAA"):
        assert secret not in reply.message


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        (Imagine(prompt=" "), "prompt: is empty"),
        (Imagine(prompt="x" * 6001), "prompt: has 6001 characters"),
        (Imagine(prompt="x", images=("https://x.example/y.png",)), "images[0]: dialect mj-plus takes images"),
        (Imagine(prompt="x", images=(PNG, "nonsense!")), "images[1]: the image is neither"),
        (Blend(images=(PNG,)), "images: a blend takes 2 to 5 images, not 1"),
        (
            Describe(image="data:application/pdf;base64,JVBERi0="),
            "image: the image is not a PNG, JPEG, WebP or GIF",
        ),
        (Change(task_id="1", action="UPSCALE"), "index: is 1 to 4"),
        (Change(task_id="1", action="REROLL", index=1), "index: is 1 to 4"),
        (SimpleChange(content="1 X2"), "content: '1 X2' is not"),
        (SimpleChange(content="1 R2"), "content: '1 R2' is not"),
        (
            Modal(task_id="1", mask="data:image/jpeg;base64,/9j/"),
            "mask: a mask must be a PNG, not image/jpeg",
        ),
        (Modal(task_id=" "), "task_id: is empty"),
        (Action(task_id="1", custom_id=""), "custom_id: is empty"),
        (Video(prompt="x"), "kind: dialect mj-plus has no video"),
    ],
)
async def test_what_would_be_refused_is_not_sent(
    wire: Wire, client: Callable[..., Client], request_: Request, says: str
) -> None:
    """The field, what is wrong with it, and what to do."""
    with pytest.raises(InvalidRequest) as raised:
        await client().submit(request_)
    assert str(raised.value).startswith(says)
    assert wire.heads == []


async def test_what_is_too_long_for_a_dialect_is_not_sent(wire: Wire, client: Callable[..., Client]) -> None:
    """trueai: state 255, notifyHook 2000 characters, else an answer in another envelope."""
    too_long: tuple[tuple[dict[str, Any], str], ...] = (
        ({"state": "s" * 256}, "state"),
        ({"notify_hook": "h" * 2001}, "notifyHook"),
    )
    for fields, field in too_long:
        with pytest.raises(InvalidRequest, match=f"{field}: has"):
            await client(dialect="trueai").submit(Imagine(prompt="x"), **fields)
    assert wire.heads == []


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"code":429,"message":"busy"}'),
        (200, b'{"code":401}'),
        (400, b'{"code":40003}'),
        (500, b'{"code":49}'),
        (500, b'{"code":4}'),
        (404, b"<html>nginx</html>"),
    ],
)
async def test_an_error_is_no_unknown_task(
    wire: Wire, client: Callable[..., Client], status: int, body: bytes
) -> None:
    """Only code 4 itself says that a task is not known."""
    wire.respond(status, body)
    with pytest.raises(UpstreamRefused):
        await client().fetch("1")


@pytest.mark.parametrize("task_id", [".", "..", "../list", "%2e%2e"])
async def test_no_question_is_asked_at_another_path(
    wire: Wire, client: Callable[..., Client], task_id: str
) -> None:
    """An answer named this id: the upstream knows no such task, and nothing is sent to what the path would become."""
    wire.respond(200, json.dumps(TASK).encode())
    assert await client().fetch(task_id) is None
    for ask in (client().submit(Cancel(task_id=task_id)), client().image_seed(task_id)):
        with pytest.raises(InvalidRequest):
            await ask
    assert wire.heads == []
