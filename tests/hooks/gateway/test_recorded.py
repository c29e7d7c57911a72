"""What nine known clients send, each with its own key at one gateway, gives each of them what it needs, and costs what it ordered.

Their requests are data (hookchain/as_client/clients.py), so this needs none of their code; `make clients` runs five of the programs.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import httpx
import pytest

from hookchain.as_client.answer import Answer
from hookchain.as_client.clients import CLIENTS
from hookchain.as_client.needs import cross_origin, readable
from hookchain.as_client.replay import Break, Replay
from hookchain.as_client.steps import KnownClient, Step
from tests.conftest import PATIENCE_S
from tests.support.customer import ENDED, Mailbox

pytestmark = pytest.mark.process

UPSTREAM = """
[upstreams.main]
url = "{url}"
dialect = "{dialect}"
concurrency = 8
look_after_s = 0.3
quiet_s = 0.7
"""
A_CLIENT = """
[clients.c{number}]
key = "key-of-client-{number}"
hook_hosts = ["127.0.0.1"]
"""
WINDOWS = ("window", "region")


@pytest.fixture
def box() -> Iterator[Mailbox]:
    """What stands at the clients' hooks."""
    opened = Mailbox()
    yield opened
    opened.stop()


async def replayed(url: str, clients: Sequence[KnownClient], hook: str) -> list[Replay]:
    """All that the clients send, at the same time."""
    async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False, verify=False) as http:
        replays = [
            Replay(http, url, client, f"key-of-client-{number}", hook=f"{hook}/{number}", gap_s=0.2)
            for number, client in enumerate(clients)
        ]
        await asyncio.gather(
            *(one.run([*client.free, *client.orders]) for one, client in zip(replays, clients, strict=True))
        )
    return replays


@pytest.mark.parametrize("dialect", ["mj-plus", "novicezk"])
def test_nine_clients_get_what_they_need(
    start_sandbox: Any, start_server: Any, box: Mailbox, database_url: str, dialect: str
) -> None:
    """No answer breaks anything, and each is JSON that a page may read; ids are strings of 16 digits; the ledger has what was ordered."""
    clients = [client for client in CLIENTS if dialect == "mj-plus" or not _needs_plus(client)]
    sandbox = start_sandbox("--speed", "20", "--dialect", dialect, "--concurrency", "8", "--queue", "50")
    toml = UPSTREAM.format(url=sandbox.url, dialect=dialect) + "".join(
        A_CLIENT.format(number=number) for number in range(len(clients))
    )
    server = start_server(toml=toml, DATABASE_URL=database_url)
    replays = asyncio.run(replayed(server.url, clients, f"http://{box.host}"))
    assert {one.result().client: one.breaks for one in replays if one.breaks} == {}
    for one in replays:
        assert [problem for step, answer in one.answers if (problem := strict(step, answer))] == []
    billed = Counter(sandbox.ledger()["billed"])
    assert billed.total() == sum(len(paid(client)) for client in clients)
    for number, client in enumerate(clients):
        if client.hook is not None:
            check_hook(box, f"/{number}", client, orders=len(paid(client)))


def paid(client: KnownClient) -> list[str]:
    """The names of what a client pays for. A window costs nothing until it is answered."""
    return [step.name for step in client.orders if step.makes and step.makes not in WINDOWS]


def strict(step: Step, answer: Answer) -> str:
    """What the gateway promises beyond what clients need, or ""."""
    if step.method == "OPTIONS":
        return cross_origin(answer)
    problem = readable(answer) or cross_origin(answer)
    result = json.loads(answer.raw).get("result") if step.makes else "1" * 16
    if not problem and not re.fullmatch(r"\d{16}", str(result)):
        problem = f"result {result!r}"
    return f"{step.name}: {problem}" if problem else ""


def check_hook(box: Mailbox, path: str, client: KnownClient, *, orders: int) -> None:
    """Each order of a client ends once at its hook, and each message is what the client needs."""
    assert client.hook is not None

    def came() -> list[Any]:
        return [message for message in box.taken if message.path == path]

    def ends() -> list[str]:
        return [message.task["id"] for message in came() if message.task["status"] in ENDED]

    box.until(lambda: len(ends()) >= orders)
    assert len(set(ends())) == len(ends()) == orders
    assert [
        problem for one in came() if (problem := client.hook(Answer(status=200, headers={}, raw=one.raw)))
    ] == []


def _needs_plus(client: KnownClient) -> bool:
    """True if it presses what the oldest servers do not have."""
    return any("/submit/action" in step.path or "/submit/modal" in step.path for step in client.orders)


def test_a_wrong_answer_is_noticed() -> None:
    """An answer of each kind that has broken a client, and nothing about the one that is right."""
    imagine = CLIENTS[0].orders[0]
    right = {"code": 1, "description": "Submit success", "result": "1796022815119964", "properties": {}}
    headers = {"access-control-allow-origin": "*", "content-type": "application/json"}
    wrong: list[tuple[dict[str, object], str]] = [
        ({"result": 1796022815119964}, "`result` is int"),
        ({"result": "17960228151199640"}, "larger than 2^53"),
        ({"result": "abc"}, "is no number"),
        ({"result": None}, "no id"),
        ({"code": 4, "description": "no"}, "code 4"),
        ({"description": "please confirm"}, "a window that there is not"),
    ]
    assert problems(imagine, right, headers) == []
    for change, problem in wrong:
        (found,) = problems(imagine, right | change, headers)[:1]
        assert problem in found
    assert "Access-Control-Allow-Origin" in problems(imagine, right, {})[0]
    assert "empty body" in [need(Answer(status=200, headers=headers, raw=b"")) for need in imagine.needs][1]


def problems(step: Step, body: object, headers: dict[str, str]) -> list[str]:
    answer = Answer(status=200, headers=headers, raw=json.dumps(body).encode())
    return [problem for need in step.needs if (problem := need(answer))]


def test_each_break_names_its_request(start_sandbox: Any) -> None:
    """A server of the oldest kind, asked directly: a page of another origin can do nothing there."""
    sandbox = start_sandbox("--dialect", "novicezk")

    async def run() -> list[Break]:
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False, verify=False) as http:
            one = Replay(http, sandbox.url, CLIENTS[0], "")
            await one.run(CLIENTS[0].free)
            return one.breaks

    found = {one.request: one.problem for one in asyncio.run(run())}
    assert found["OPTIONS /mj/submit/imagine"] == "HTTP 405 to a preflight, which carries no key"
    assert found["GET /mj/task/1000000000000001/fetch"] == "an empty body, which it cannot decode"
    assert "page of another origin" in found["POST /mj/task/list-by-condition"]
