"""Several accounts behind one address: an order goes to another account only while the first one certainly has nothing of it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.hostile.upstream import Hostile
from tests.support.customer import Customer

ACCOUNTS = """
[upstreams.first]
url = "{first}"
key = "sk-1"
timeout_s = {timeout_s}
settle_after_s = 0.5
look_after_s = 0.3
quiet_s = 0.7
jobs = {jobs}

[upstreams.spare]
url = "{spare}"
key = "sk-1"
look_after_s = 0.3
quiet_s = 0.7

[pools.both]
upstreams = ["first", "spare"]
modes = {modes}

[clients.ann]
key = "ann-key-1"
pool = "both"
hook_hosts = ["127.0.0.1"]
"""


class Account:
    """An account that takes each submit and does with its connection what the test says: `answer` gets the socket."""

    def __init__(self, answer: Callable[[socket.socket], None]) -> None:
        self._answer = answer
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"
        self.submits: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._sock.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(connection,), daemon=True).start()

    def _talk(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), connection, connection.makefile("rb") as lines:
            while line := lines.readline():
                length = 0
                while (header := lines.readline()).strip():
                    if header.lower().startswith(b"content-length:"):
                        length = int(header.split(b":")[1])
                lines.read(length)
                if b"/submit/" in line:
                    self.submits.append(line.split()[1].decode())
                    self._answer(connection)
                else:
                    say(connection, 200, [])

    def stop(self) -> None:
        self._sock.close()


def say(connection: socket.socket, status: int, body: Any) -> None:
    """Answer with JSON."""
    written = json.dumps(body).encode()
    head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(written)}\r\n\r\n"
    connection.sendall(head.encode() + written)


def says(status: int, **body: Any) -> Callable[[socket.socket], None]:
    return lambda connection: say(connection, status, body)


def hangs(connection: socket.socket) -> None:
    """Read nothing and say nothing until the other side ends the connection."""
    connection.recv(1)


def breaks_off(connection: socket.socket) -> None:
    """End the connection in the middle of the answer."""
    connection.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"code":1,')
    connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def open_accounts(
    start_server: Any, start_hostile: Any, database_url: str
) -> Iterator[Callable[..., tuple[Customer, Hostile]]]:
    """A client of a pool of two accounts; the second one is honest."""
    with contextlib.ExitStack() as stack:

        def start(
            first: str, *, modes: str = "{}", jobs: int = 0, timeout_s: float = 1
        ) -> tuple[Customer, Hostile]:
            spare = start_hostile()
            toml = ACCOUNTS.format(first=first, spare=spare.url, modes=modes, jobs=jobs, timeout_s=timeout_s)
            customer = Customer(start_server(toml=toml, DATABASE_URL=database_url).url)
            stack.callback(customer.close)
            return customer, spare

        yield start


@pytest.fixture
def account() -> Iterator[Callable[..., Account]]:
    """Start an account that misbehaves."""
    started: list[Account] = []

    def start(answer: Callable[[socket.socket], None]) -> Account:
        started.append(Account(answer))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def paid(upstream: Hostile) -> list[str]:
    return [str(one.body.get("prompt")) for one in upstream.ledger.paid()]


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (429, {"code": 23, "description": "too many requests"}),
        (401, {"code": 4, "description": "令牌无效"}),
        (403, {"code": 4, "description": "forbidden"}),
        (200, {"code": 23, "description": "队列已满，请稍后尝试"}),
        (200, {"code": 30, "description": "upstream load saturated"}),
        (200, {"code": 3, "description": "无可用的账号实例"}),
    ],
    ids=["429", "401", "403", "23", "30", "3"],
)
def test_what_an_account_refuses_another_does(
    open_accounts: Any, account: Any, eventually: Any, status: int, body: dict[str, Any]
) -> None:
    """The refusal says that there is no task. The client sees one ticket, which succeeds, and one charge."""
    first = account(says(status, **body))
    ann, spare = open_accounts(first.url)
    ticket = ann.imagine("moves over")
    eventually(lambda: ann.has_ended(ticket))
    assert ann.fetch(ticket)["status"] == "SUCCESS"
    assert paid(spare) == ["moves over"]
    assert first.submits.count("/mj/submit/imagine") == 1


def test_the_story_of_an_order_that_moved_names_both_accounts(
    open_accounts: Any, account: Any, eventually: Any
) -> None:
    """Which was chosen and why, what it answered, and what the other one did."""
    first = account(says(429, code=23, description="too many requests"))
    ann, _spare = open_accounts(first.url)
    ticket = ann.imagine("a story")
    eventually(lambda: ann.has_ended(ticket))
    story = ann.http.get(f"{str(ann.http.base_url).removesuffix('/mj/')}/api/explain/{ticket}").json()
    of_ticket = story["ticket"]
    assert (of_ticket["upstream"], of_ticket["chosen"]) == ("spare", "the first of its pool")
    here, there = of_ticket["submissions"]
    assert (here["upstream"], here["outcome"], there["upstream"], there["state"]) == (
        "first",
        "moved",
        "spare",
        "accepted",
    )
    assert here["reason"].endswith("; spare does it instead")
    assert [one["http_status"] for one in (*here["tries"], *there["tries"])] == [429, 200]
    assert of_ticket["task_id"] == story["task"]["id"]


def test_what_an_account_is_not_there_for_another_does(open_accounts: Any, eventually: Any) -> None:
    """It refuses connections, so it cannot have received anything."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
    ann, spare = open_accounts(address)
    ticket = ann.imagine("nobody at home")
    eventually(lambda: ann.has_ended(ticket))
    assert (ann.fetch(ticket)["status"], paid(spare)) == ("SUCCESS", ["nobody at home"])


@pytest.mark.parametrize(
    "answer", [hangs, breaks_off, says(500), says(200)], ids=["hangs", "breaks", "500", "empty"]
)
def test_what_an_account_may_have_no_other_gets(
    open_accounts: Any, account: Any, eventually: Any, answer: Callable[[socket.socket], None]
) -> None:
    """The request left, and no verdict came: nobody else is asked to do it, however long that takes. The client's ticket waits."""
    first = account(answer)
    ann, spare = open_accounts(first.url)
    ticket = ann.imagine("perhaps")
    later = ann.imagine("perhaps not")
    eventually(lambda: len(first.submits) == 2)
    assert {ann.fetch(one)["status"] for one in (ticket, later)} == {"NOT_START"}
    assert paid(spare) == []


def test_what_is_refused_for_its_words_no_other_account_gets(open_accounts: Any, account: Any) -> None:
    """24 is told, and so is 4: another account would say the same."""
    answers = iter(
        [
            {"code": 24, "description": "banned", "properties": {"bannedWord": "x"}},
            {"code": 4, "description": "no"},
        ]
    )
    first = account(lambda connection: say(connection, 200, next(answers)))
    ann, spare = open_accounts(first.url)
    told = ann.order("imagine", prompt="a banned word")
    assert (told["code"], told["result"], told["properties"]["bannedWord"]) == (24, None, "x")
    assert ann.order("imagine", prompt="something wrong")["code"] == 4
    assert paid(spare) == []


def test_a_press_goes_where_its_parent_is(open_accounts: Any, start_hostile: Any, eventually: Any) -> None:
    """A grid of the spare account is upscaled there, although the first account is idle by then."""
    first = start_hostile(holds=True)
    ann, spare = open_accounts(first.url, jobs=1)
    ann.imagine("keeps the first busy")
    eventually(lambda: paid(first))
    grid = ann.imagine("at the spare")
    eventually(lambda: ann.has_ended(grid))
    assert paid(spare) == ["at the spare"]
    first.change(holds=False)
    upscale = ann.press(grid, "U1")["result"]
    eventually(lambda: ann.has_ended(upscale))
    assert (ann.fetch(upscale)["status"], len(spare.ledger.paid()), len(first.ledger.paid())) == (
        "SUCCESS",
        2,
        1,
    )


def test_a_mode_in_the_path_reaches_only_accounts_of_that_mode(
    open_accounts: Any, start_hostile: Any, eventually: Any
) -> None:
    """`/mj-relax` is done by the relax account, `/mj-fast` by the other, and a mode that no account has is refused."""
    first = start_hostile()
    ann, spare = open_accounts(first.url, modes='{ first = ["fast"], spare = ["relax"] }')
    server = str(ann.http.base_url).removesuffix("/mj/")
    for mode, where in (("mj-relax", spare), ("mj-fast", first)):
        client = Customer(server, prefix=f"/{mode}/mj")
        ticket = client.imagine(f"in {mode}")
        eventually(lambda client=client, ticket=ticket: client.has_ended(ticket))
        assert paid(where) == [f"in {mode}"]
        client.close()
    turbo = Customer(server, prefix="/mj-turbo/mj")
    assert turbo.order("imagine", prompt="in turbo")["code"] == 4
    turbo.close()


def test_a_task_of_an_account_that_was_removed_can_be_read_and_names_the_account_when_it_is_pressed(
    start_server: Any, start_hostile: Any, eventually: Any, database_url: str
) -> None:
    """Who starts with one account and then makes a pool often renames it. The old tickets stay readable; a press and a seed say what is
    missing, and nothing leaves."""
    first, spare = start_hostile(), start_hostile()
    toml = ACCOUNTS.format(first=first.url, spare=spare.url, modes="{}", jobs=0, timeout_s=1)
    server = start_server(toml=toml, DATABASE_URL=database_url)
    with contextlib.closing(Customer(server.url)) as ann:
        ticket = ann.imagine("an old one")
        eventually(lambda: ann.has_ended(ticket))
    server.end()
    server = start_server(toml=toml.replace("first", "renamed"), DATABASE_URL=database_url)
    with contextlib.closing(Customer(server.url)) as ann:
        assert ann.fetch(ticket)["status"] == "SUCCESS"
        pressed = ann.press(ticket, "U1")
        seed = ann.http.get(f"/task/{ticket}/image-seed").json()
    for told in (pressed, seed):
        assert (told["code"], "[upstreams.first]" in told["description"]) == (4, True), told
    assert paid(first) == ["an old one"]
    assert paid(spare) == []


def test_a_running_task_of_an_account_that_was_removed_cannot_be_cancelled_and_the_answer_names_the_account(
    start_server: Any, start_hostile: Any, account: Any, database_url: str
) -> None:
    """The account took the order and has not ended it. Nobody can pass the cancel on to it."""
    first, spare = account(says(200, code=1, result="1790000000000111")), start_hostile()
    toml = ACCOUNTS.format(first=first.url, spare=spare.url, modes="{}", jobs=0, timeout_s=1)
    server = start_server(toml=toml, DATABASE_URL=database_url)
    with contextlib.closing(Customer(server.url)) as ann:
        ticket = ann.imagine("still running")
    server.end()
    server = start_server(toml=toml.replace("first", "renamed"), DATABASE_URL=database_url)
    with contextlib.closing(Customer(server.url)) as ann:
        told = ann.http.post(f"/task/{ticket}/cancel").json()
    assert (told["code"], "[upstreams.first]" in told["description"]) == (4, True), told
