"""A picture at a private link: what rules, plugins and people ask for with it is never paid for in vain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dispatcher.by_hand import commands, dead_letters
from hookchain import task_succeeded
from midjourney.dialects import DIALECTS
from midjourney.requests import Blend, Describe
from storage.clock import now_ms

PNG_BYTES = b"\x89PNG\r\n\x1a\n rest"
PNG = "data:image/png;base64,iVBORw0KGgogcmVzdA=="
PRIVATE = "http://localhost:3000/mj/image/1"

RULES = [
    ("image", "imagine = { prompt = 'again', images = ['{{ task.image_url }}'] }"),
    ("prompt", "imagine = '{{ task.image_url }} again'"),
    ("prompt", "imagine = 'a cat --sref {{ task.image_url }}'"),
    ("image", f"blend = ['{PNG}', '{{{{ task.image_url }}}}']"),
    ("image", "describe = '{{ task.image_url }}'"),
    ("prompt", "shorten = '{{ task.image_url }} a cat'"),
]


@pytest.fixture
async def store() -> AsyncIterator[str]:
    """Host and port of a web server that has one picture."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.1 200 X\r\ncontent-length: {len(PNG_BYTES)}\r\n\r\n".encode() + PNG_BYTES)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def dead(bench: Any) -> Any:
    """The delivery, once it is a dead letter."""

    async def ask() -> Any:
        return [one for one in await bench.deliveries() if one.state == "dead"]

    return (await bench.until(ask))[0]


@pytest.mark.parametrize(
    ("dialect", "field", "does"), [("mj-plus", *RULES[0]), *(("trueai", *rule) for rule in RULES)]
)
async def test_a_rule_buys_nothing_with_a_private_link(
    bench: Any, dialect: str, field: str, does: str
) -> None:
    """A dead letter at once, with field, address and cure; whether the dialect takes links or data."""
    bench.options = {"dialect": dialect}
    bench.rules(f"[[rules]]\nname = 'r'\non = 'task.succeeded'\n{does}")
    await bench.start()
    await bench.callback(imageUrl=PRIVATE)
    letter = await dead(bench)
    assert f"{field}: {PRIVATE} is an address in a private network" in letter.error
    assert "private_hosts" in letter.error
    assert bench.upstream.received == []
    assert await bench.submissions() == []


async def test_a_rule_sends_a_picture_of_a_named_host_as_data(bench: Any, store: str) -> None:
    """Where the dialect takes links as well."""
    bench.options = {"dialect": "trueai", "private_hosts": [store]}
    bench.rules(f"[[rules]]\nname = 'r'\non = 'task.succeeded'\n{RULES[0][1]}\nlimit = 1")
    await bench.start()
    await bench.callback(imageUrl=f"http://{store}/a.png")
    await bench.until_states("accepted")
    assert [body["base64Array"] for _, body in bench.upstream.received] == [[PNG]]


@pytest.mark.parametrize("is_named", [True, False])
async def test_a_plugin_that_loads_nothing_itself(bench: Any, store: str, is_named: bool) -> None:
    """`chain.submit` with the link as it is: loaded when it is sent, or refused when it is asked for."""
    link = f"http://{store}/a.png"
    bench.options = {"dialect": "trueai", "private_hosts": [store] if is_named else []}

    @task_succeeded.connect_via("IMAGINE", weak=False)
    def receiver(_action: str, *, chain: Any, **_: Any) -> None:
        chain.submit(Blend(images=(link, PNG)))

    await bench.start()
    await bench.callback()
    if is_named:
        await bench.until_states("accepted")
        assert [body["base64Array"] for _, body in bench.upstream.received] == [[PNG, PNG]]
    else:
        assert f"images[0]: {link} is an address in a private network" in (await dead(bench)).error
        assert bench.upstream.received == []


async def test_a_link_that_was_staged_is_refused_where_it_would_leave(bench: Any, store: str) -> None:
    """By an earlier release, say: unpaid, again when retried by hand, and sent once the host is named."""
    link = f"http://{store}/a.png"

    def ask(connection: Any) -> Any:
        return commands.submit(
            connection,
            Describe(image=link),
            upstream="main",
            dialect=DIALECTS["trueai"],
            asked_by="test",
            now_ms=now_ms(),
        )

    async def retry(submission_id: str) -> None:
        assert await bench.database.write(
            "retry", lambda c: dead_letters.retry(c, f"submission-{submission_id}", now_ms())
        )
        bench.database.wakeups.wake("submissions")

    await bench.start()
    await bench.database.write("ask", ask)
    bench.database.wakeups.wake("submissions")
    (refused,) = await bench.until_states("rejected")
    assert f"image: {link} is an address in a private network" in refused.reason
    await retry(refused.id)
    await bench.until_quiet()
    (again,) = await bench.until_states("rejected")
    assert (again.attempts, bench.upstream.received) == (2, [])

    await bench.stop()
    bench.options = {"dialect": "trueai", "private_hosts": [store]}
    await bench.start()
    await retry(refused.id)
    await bench.until_states("accepted")
    assert [body["base64"] for _, body in bench.upstream.received] == [PNG]
