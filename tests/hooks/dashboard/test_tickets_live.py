"""What open pages of a client and of a ticket are sent: what has changed, in its place, and no more."""

from __future__ import annotations

import re

import pytest

from hooks.api.gateway_clients import clients_now
from hooks.dashboard import clients as pages
from hooks.dashboard.chain import ChainTopic
from hooks.dashboard.clients import ClientTopic
from hooks.gateway_view import NO_GATEWAY
from hooks.topics import Changes, Marks
from midjourney.requests import Imagine, encode_request
from storage.clock import now_ms
from storage.engine import Connection
from storage.reading.ticket_pages import TicketFilter
from storage.records import Staged
from storage.submissions import staging
from storage.tickets import tickets
from tests.hooks.conftest import Site
from tests.hooks.dashboard.gateway import ordered


def topic(site: Site, **wanted: str) -> ClientTopic:
    """A page of ann's, who is known by her tickets."""
    plan = site.database.plan
    given = TicketFilter(client="ann", **wanted)  # type: ignore[arg-type]  # of those that there are
    return ClientTopic(lambda connection, name: clients_now(connection, NO_GATEWAY, plan, name), given)


async def changes(site: Site, one: ClientTopic, known: Marks) -> Changes:
    """What has changed since."""
    return await site.database.read(lambda connection: one.changes(connection, known))


def sent(found: Changes) -> str:
    """The pieces as a page gets them."""
    return "\n".join(piece.render("en") for piece in found.changed)


async def test_a_new_ticket_is_inserted_before_those_that_are_older(shop: Site) -> None:
    """Of two new ones, the newer at the top, and the other one after it."""
    page = topic(shop)
    old = await ordered(shop, created_at_ms=1_700_000_000_000)
    known = (await changes(shop, page, {})).marks
    middle = await ordered(shop, created_at_ms=1_700_000_100_000)
    new = await ordered(shop, created_at_ms=1_700_000_200_000)
    found = await changes(shop, page, known)
    text = sent(found)
    assert f'hx-target="#ticket-list:not(:has(#ticket-{new.id}))" hx-swap="afterbegin"' in text
    assert f":not(:has(#ticket-{middle.id})) > #ticket-{new.id}" in text
    assert f"#ticket-{old.id}" not in text
    assert 'hx-target="#client"' in text
    again = await changes(shop, page, found.marks)
    assert again.changed == []


async def test_a_ticket_is_sent_again_when_its_hook_was_told(shop: Site) -> None:
    """And only this one."""
    page = topic(shop)
    ticket, _other = await ordered(shop), await ordered(shop)
    known = (await changes(shop, page, {})).marks
    await shop.database.write("test", lambda c: tickets.set_told(c, ticket.id, "SUCCESS", 100))
    text = sent(await changes(shop, page, known))
    assert set(re.findall(r'<li id="ticket-(\d+)"', text)) == {ticket.id}
    assert "hook: delivered" in text


async def test_a_ticket_leaves_a_list_that_it_does_not_match_any_more(shop: Site) -> None:
    """Whether the page was there when it happened, or comes back."""
    page = topic(shop, state="open")
    ticket, other = await ordered(shop), await ordered(shop)
    known = (await changes(shop, page, {})).marks
    await shop.database.write("test", lambda c: tickets.end(c, [ticket.id], now_ms()))
    found = await changes(shop, page, known)
    assert f'hx-target="#ticket-{ticket.id}" hx-swap="delete"' in sent(found)
    came_back = await changes(shop, page, {})
    assert came_back.missed is not None
    (whole, *_) = [piece.render("en") for piece in came_back.missed(now_ms())]
    assert 'hx-target="#ticket-list"' in whole
    assert re.findall(r'<li id="ticket-(\d+)"', whole) == [other.id]


async def test_a_page_that_missed_more_than_it_keeps_live_gets_the_whole_list(
    shop: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the way on from there; one that missed less gets what has changed, and keeps the older ones that it has loaded."""
    monkeypatch.setattr(pages, "LIVE_TICKETS", 2)
    times = [1_700_000_000_000 + 1000 * n for n in range(4)]
    made = [await ordered(shop, hook="", created_at_ms=at_ms) for at_ms in times]
    found = await changes(shop, topic(shop), {})
    assert found.missed is not None
    (whole, *_) = [piece.render("en") for piece in found.missed(times[0])]
    assert re.findall(r'<li id="ticket-(\d+)"', whole) == [made[3].id, made[2].id]
    assert f"before={times[2]}-{made[2].id}" in whole
    few = "\n".join(piece.render("en") for piece in found.missed(times[2]))
    assert set(re.findall(r'<li id="ticket-(\d+)"', few)) == {made[3].id}


async def test_a_page_of_a_client_that_is_gone_stays_as_it_is(shop: Site) -> None:
    """Its tickets and keys have been removed since."""

    def remove(connection: Connection) -> None:
        tickets.drop_old(connection, now_ms() + 1, most=10)

    ticket = await ordered(shop)
    await shop.database.write("test", lambda c: tickets.end(c, [ticket.id], now_ms()))
    page = topic(shop)
    known = (await changes(shop, page, {})).marks
    await shop.database.write("test", remove)
    assert (await changes(shop, page, known)).changed == []


async def test_a_chain_says_that_another_client_has_joined_it(shop: Site) -> None:
    """The ticket shows a submission that was there before: nothing else of the chain changes."""
    staged = Staged(
        idempotency_key="k", chain_id="", upstream="main", kind="imagine", label="imagine",
        request=encode_request(Imagine(prompt="x")), parent_id="", depth=0, asked_by="rule:upscale",
    )  # fmt: skip
    made = await shop.database.write(
        "test", lambda c: staging.stage(c, staged, refuse=lambda _use, _staged: "", now_ms=now_ms())
    )
    chain = ChainTopic(made.chain_id, 64)
    known = (await shop.database.read(lambda c: chain.changes(c, {}))).marks
    ticket = await ordered(shop, client="bob", submission_id=made.submission_id)
    found = await shop.database.read(lambda c: chain.changes(c, known))
    assert f'href="/tickets/{ticket.id}"' in sent(found)
    assert 'href="/clients/bob"' in sent(found)
    assert (await shop.database.read(lambda c: chain.changes(c, found.marks))).changed == []
