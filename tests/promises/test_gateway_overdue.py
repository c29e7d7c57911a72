"""Tickets that would stay open for ever end: nobody answered the window, or nobody knows what became of the order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from dispatcher.tickets.clients import Client
from dispatcher.tickets.overdue import Overdue
from storage import clock
from storage.engine import Database
from tests.support.customer import CLIENTS, Customer

HOUR_MS = 3_600_000


def after(url: str, ms: int) -> None:
    """A server of ours has its turn over this database so much later."""

    async def turn() -> None:
        database = Database(url)
        await database.open()
        turned = asyncio.Event()
        loop = Overdue(database, lambda name: Client(name=name), lambda: clock.now_ms() + ms).loop

        def turns() -> bool:
            turned.set()
            return True

        loop.may_turn = turns
        loop.start()
        await turned.wait()
        await loop.stop()
        await database.close()

    asyncio.run(turn())


@pytest.fixture(params=["sqlite", "postgres"])
def site(request: pytest.FixtureRequest, start_hostile: Any, serve: Any, tmp_path: Any) -> Any:
    """Start a gateway at an upstream with these manners; the upstream, the client, and the database's address."""
    url = f"sqlite:///{tmp_path}/hookchain.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_url")

    def start(**manners: Any) -> tuple[Any, Any, str]:
        upstream = start_hostile(**manners)
        too = "timeout_s = 1\nsettle_after_s = 0.5\n"
        return upstream, serve(upstream, CLIENTS, upstream_too=too, DATABASE_URL=url), url

    return start


def test_an_outcome_that_stays_unknown_ends_as_a_failure_that_says_so(
    site: Any, customer: Any, mailbox: Any, eventually: Any
) -> None:
    """The upstream took the order, and shows nothing of it. For an hour the ticket stays NOT_START, then it is a FAILURE that may have
    been charged; the hook is told, and nothing is sent again."""
    upstream, server, url = site(echoes_hook=False, state="dropped", is_silent=True, list_newest=0)
    ann: Customer = customer(server)
    box = mailbox()
    upstream.next_submit("silence", of="imagine")
    ticket = ann.imagine("unknown for ever", notifyHook=box.url)
    eventually(lambda: server.get("/api/submissions?state=uncertain")["submissions"])
    after(url, HOUR_MS - 60_000)
    assert ann.fetch(ticket)["status"] == "NOT_START"
    after(url, HOUR_MS + 1_000)
    shown = ann.fetch(ticket)
    assert (shown["status"], shown["failReason"]) == ("FAILURE", "outcome unknown, may have been charged")
    assert box.until_it_ends(ticket)[-1].task["failReason"] == shown["failReason"]
    assert len(upstream.ledger.submits) == 1


def test_a_task_that_the_upstream_does_not_end_ends_after_a_day(
    site: Any, customer: Any, mailbox: Any, eventually: Any
) -> None:
    """Most clients wait for an end, and for nothing else. It stays the end, whatever becomes of the task later."""
    upstream, server, url = site(holds=True)
    ann: Customer = customer(server)
    box = mailbox()
    ticket = ann.imagine("runs for ever", notifyHook=box.url)
    box.until(lambda: box.about(ticket))
    after(url, 23 * HOUR_MS)
    assert ann.fetch(ticket)["status"] == "SUBMITTED"
    after(url, 24 * HOUR_MS + 60_000)
    shown = ann.fetch(ticket)
    assert shown["status"] == "FAILURE"
    assert shown["failReason"] == "the upstream did not end it in time, may have been charged"
    end = box.until_it_ends(ticket)[-1].task
    assert (end["status"], end["failReason"]) == ("FAILURE", shown["failReason"])
    upstream.go_on(upstream.shelf.all()[-1])
    witness = ann.imagine("runs as well", notifyHook=box.url)
    upstream.go_on(upstream.shelf.all()[-1])
    box.until_it_ends(witness)
    later = ann.fetch(ticket)
    assert (later["status"], later["failReason"]) == ("FAILURE", shown["failReason"])
    assert [one.task["status"] for one in box.about(ticket)].count("FAILURE") == 1
    assert len(upstream.ledger.paid()) == 2


def test_a_window_that_nobody_answers_ends_after_a_day_and_cost_nothing(
    site: Any, customer: Any, mailbox: Any
) -> None:
    upstream, server, url = site()
    ann: Customer = customer(server)
    box = mailbox()
    described = upstream.running("a cat", action="DESCRIBE")
    upstream.finish(described)
    told = ann.order("action", taskId=described.id, customId=described.custom_id_of("1️⃣"), notifyHook=box.url)
    window = told["result"]
    after(url, 23 * HOUR_MS)
    assert ann.fetch(window)["status"] == "MODAL"
    after(url, 24 * HOUR_MS + 60_000)
    shown = ann.fetch(window)
    assert shown["status"] == "FAILURE"
    assert "nothing is charged" in shown["failReason"]
    assert box.until_it_ends(window)[-1].task["status"] == "FAILURE"
    assert ann.order("modal", taskId=window, prompt="too late")["code"] == 4
    assert upstream.ledger.submits == []
