"""The pages of clients and tickets: what they show, and what they never show."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from hooks.dashboard.clients import PAGE
from hooks.numbers import number
from midjourney.requests import Imagine, encode_request
from storage import schema
from storage.clients import keys
from storage.clock import now_ms
from storage.engine import Connection
from storage.reading.ticket_pages import TicketState
from storage.records import Staged
from storage.submissions import staging
from storage.tickets import moves, tickets
from tests.hooks.conftest import Site
from tests.hooks.dashboard.gateway import SECRETS, given_up, ordered


def words(page: str) -> str:
    """The text of a page's main part, without tags."""
    main = re.search(r"<main.*?</main>", page, re.DOTALL)
    assert main is not None
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main[0])).replace("&#39;", "'")


def rows(page: str) -> list[str]:
    """The ids of the tickets that a list shows, in its order."""
    return re.findall(r'<li id="ticket-(\d+)"', page)


async def text_of(site: Site, path: str) -> str:
    """The text of a page."""
    answer = await site.http.get(path)
    assert answer.status_code == 200, answer.text
    return words(answer.text)


async def test_without_a_gateway_the_navigation_has_no_clients(site: Site) -> None:
    """And their addresses say why there is nothing."""
    assert 'href="/clients"' not in (await site.http.get("/")).text
    for path in ("/clients", "/clients/ann", "/tickets/1700000000000123", "/live/clients"):
        answer = await site.http.get(path)
        assert answer.status_code == 404
        assert "The gateway is off" in answer.text


async def test_with_a_gateway_every_page_leads_to_the_clients(shop: Site) -> None:
    for path in ("/", "/operations", "/rules", "/setup", "/clients"):
        assert 'href="/clients"' in (await shop.http.get(path)).text


async def test_a_client_shows_its_use_against_its_limits(shop: Site) -> None:
    """What it submitted today, of what it may: as a bar, and in figures."""
    staged = Staged(
        idempotency_key="k", chain_id="", upstream="main", kind="imagine", label="imagine",
        request=encode_request(Imagine(prompt="x")), parent_id="", depth=0, asked_by="person:client ann", client="ann",
    )  # fmt: skip
    await shop.database.write(
        "test", lambda c: staging.stage(c, staged, refuse=lambda _use, _staged: "", now_ms=now_ms())
    )
    await ordered(shop, created_at_ms=now_ms())
    page = (await shop.http.get("/clients")).text
    ann, bob = re.findall(r'<li class="box" id="client-\w+">.*?</li>', page, re.DOTALL)
    assert re.search(r'<meter[^>]* max="500"[^>]* value="1"', ann)
    assert "1 / 500" in ann
    assert "Tickets today 1 Open tickets 1" in words(f"<main>{ann}</main>")
    assert "main, spare" in ann
    assert "<meter" not in bob


async def test_a_client_says_where_its_keys_are_and_never_what_they_are(shop: Site) -> None:
    """In the file, stored, or nowhere: then it cannot order."""
    key, stored = await shop.database.write("test", lambda c: keys.add(c, "ann", now_ms()))
    await ordered(shop, client="former")
    page = (await shop.http.get("/clients")).text
    assert "one in the configuration file; 1 stored" in words(page)
    assert "none: it cannot submit anything" in await text_of(shop, "/clients/former")
    for secret in (key, stored.hash, stored.hint, stored.id):
        assert secret not in page


async def test_what_waits_for_a_clients_hook_is_told_by_host(shop: Site) -> None:
    """Dead letters lead to Operations, where they can be tried again."""
    ticket = await ordered(shop, task_id="t1")
    page = (await shop.http.get("/clients")).text
    assert "All hooks accept their messages." in words(page)
    await given_up(shop, ticket)
    page = (await shop.http.get("/clients")).text
    assert "1 message to a client's hook could not be delivered." in words(page)
    assert "bot.example.com:8443 1 dead letter" in words(page)
    (link,) = re.findall(r'href="(/operations[^"]*)#letters"', page)
    assert "ann's hook at bot.example.com:8443" in await text_of(shop, link)


async def test_a_clients_tickets_are_shown_in_pages_and_by_state(shop: Site) -> None:
    """All of them, once each, the newest first; another client's are elsewhere."""
    made = [(await ordered(shop, created_at_ms=1_700_000_000_000 + n)).id for n in range(PAGE + 3)]
    await ordered(shop, client="bob")

    def change(connection: Connection) -> None:
        tickets.open_window(connection, made[0])
        tickets.end(connection, [made[1]], now_ms(), fail_reason="withdrawn: too late")
        tickets.end(connection, [made[2]], now_ms())

    await shop.database.write("test", change)
    found, path = [], "/clients/ann"
    for _ in range(2):
        page = (await shop.http.get(path)).text
        found += rows(page)
        more = re.search(r'id="more"><a href="([^"]*)"', page)
        path = more[1].replace("&amp;", "&") if more else ""
    assert found == made[::-1]
    assert path == ""
    of_state = {
        state: rows((await shop.http.get(f"/clients/ann?state={state}")).text)
        for state in get_args(TicketState)
    }
    assert of_state["window"] == [made[0]]
    assert of_state["failed"] == [made[1]]
    assert of_state["ended"] == [made[2]]
    assert len(of_state["open"]) == PAGE
    assert "withdrawn: too late" in await text_of(shop, "/clients/ann?state=failed")


async def test_tickets_whose_hook_was_not_told_can_be_chosen(shop: Site) -> None:
    told = await ordered(shop)
    lost = await ordered(shop)
    await shop.database.write("test", lambda c: tickets.set_told(c, told.id, "SUCCESS", 100))
    await shop.database.write("test", lambda c: tickets.set_told(c, lost.id, "gone:1", -1))
    assert rows((await shop.http.get("/clients/ann?hook=dead")).text) == [lost.id]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/clients/nobody", 404),
        ("/clients/ann?state=lost", 422),
        ("/clients/ann?hook=lost", 422),
        ("/clients/ann?before=x", 422),
        ("/clients/ann?before=1-%00", 422),
        ("/tickets/1", 404),
        ("/tickets/%00", 404),
        ("/clients/%00", 404),
    ],
)
async def test_what_is_not_there_is_said(shop: Site, path: str, status: int) -> None:
    assert (await shop.http.get(path)).status_code == status


async def test_a_ticket_shows_both_ids_and_leads_to_its_task(shop: Site) -> None:
    """And what was ordered, at which account."""
    await shop.http.post(shop.hook, json={"id": "t1", "status": "SUCCESS", "action": "IMAGINE"})
    ticket = await ordered(shop, task_id="t1", chosen="the first of its pool")
    page = (await shop.http.get(f"/tickets/{ticket.id}")).text
    assert f"The client's id {ticket.id}" in words(page)
    assert 'href="/tasks/main/t1"' in page
    assert "Account main: the first of its pool" in words(page)
    assert "imagine a boat" in words(page)


async def test_a_ticket_says_where_it_moved_and_who_was_first(shop: Site) -> None:
    """An order that went on at another account has a try at each; a task that somebody else had asked for is said to be joined."""

    def stage(connection: Connection, upstream: str, key: str, asked_by: str) -> str:
        staged = Staged(
            idempotency_key=key, chain_id="", upstream=upstream, kind="imagine", label="imagine",
            request=encode_request(Imagine(prompt="x")), parent_id="", depth=0, asked_by=asked_by,
        )  # fmt: skip
        made = staging.stage(connection, staged, refuse=lambda _use, _staged: "", now_ms=now_ms())
        return made.submission_id

    def move(connection: Connection) -> str:
        first = stage(connection, "main", "first", "person:client ann")
        return stage(connection, "spare", moves.key_of_move("spare", first), "person:client ann")

    moved = await ordered(shop, upstream="spare", submission_id=await shop.database.write("test", move))
    text = await text_of(shop, f"/tickets/{moved.id}")
    assert "Account spare: moved from main" in text
    assert "joined" not in text
    by_rule = await shop.database.write("test", lambda c: stage(c, "main", "other", "rule:upscale"))
    joined = await ordered(shop, submission_id=by_rule)
    text = await text_of(shop, f"/tickets/{joined.id}")
    assert "first requested by rule:upscale: this ticket joined it" in text
    chain_id = re.search(r"/chains/([^?\"]+)", (await shop.http.get(f"/tickets/{joined.id}")).text)
    assert chain_id is not None
    chain = await shop.http.get(f"/chains/{chain_id[1]}")
    assert f'href="/tickets/{joined.id}"' in chain.text


async def test_a_given_up_message_is_retried_and_dropped_on_its_tickets_page(shop: Site) -> None:
    """Only its own: a letter of another ticket is not there. What cannot be undone is asked about first."""
    ticket, other = await ordered(shop, task_id="t1"), await ordered(shop, task_id="t2")
    letters = [await given_up(shop, ticket), await given_up(shop, ticket), await given_up(shop, other)]
    numbers = [number(letter.removeprefix("delivery-")) for letter in letters]
    page = (await shop.http.get(f"/tickets/{ticket.id}")).text
    assert re.findall(r'action="([^"]*)"', page) == [
        f"/tickets/{ticket.id}/letters/{one}" for one in numbers[:2]
    ]
    assert "answered HTTP 410" in words(page)

    async def do(letter: int | None, **form: str) -> tuple[int, str]:
        answer = await shop.http.post(f"/tickets/{ticket.id}/letters/{letter}", data=form)
        return answer.status_code, answer.text

    assert (await do(numbers[0], do="retry"))[0] == 303
    status, asked = await do(numbers[1], do="drop")
    assert (status, "Discard this for good?" in asked) == (200, True)
    assert f'href="/tickets/{ticket.id}"' in asked
    assert (await do(numbers[1], do="drop", sure="1"))[0] == 303
    assert (await do(numbers[2], do="retry"))[0] == 404
    assert (await do(numbers[2], do="burn"))[0] == 422
    rows_ = schema.deliveries.select().order_by(schema.deliveries.c.id)
    states = [row.state for row in await shop.database.read(lambda c: c.execute(rows_).all())]
    assert states == ["waiting", "done", "dead"]


async def test_no_page_shows_a_key_a_secret_a_state_or_more_than_the_host_of_a_hook(shop: Site) -> None:
    """In no language and no part: a page that is closed over somebody's shoulder must not cost an account."""
    ticket = await ordered(shop, task_id="t1")
    await given_up(shop, ticket)
    for path in ("/clients", "/clients/ann", f"/tickets/{ticket.id}", "/operations", "/setup", "/"):
        for part in ({}, {"hx-request": "true"}):
            page = (await shop.http.get(path, headers=part)).text
            assert [secret for secret in SECRETS if secret in page] == [], path
    assert "bot.example.com:8443" in await text_of(shop, f"/tickets/{ticket.id}")


async def test_pages_of_clients_are_the_same_on_either_database(shop_on: Site) -> None:
    """With a ticket whose end was not told, and addresses that no database can look up."""
    ticket = await ordered(shop_on, task_id="t1")
    await given_up(shop_on, ticket)
    for path in ("/clients", "/clients/ann", f"/tickets/{ticket.id}", "/operations"):
        assert "bot.example.com:8443" in await text_of(shop_on, path)
    for state in get_args(TicketState):
        shown = rows((await shop_on.http.get(f"/clients/ann?state={state}")).text)
        assert shown == ([ticket.id] if state == "open" else [])
    for path in ("/clients/%00", "/tickets/%00", "/clients/ann?before=1-%00"):
        assert (await shop_on.http.get(path)).status_code in (404, 422)
