"""Operations says whose hook a dead letter was for."""

from __future__ import annotations

import re

import pytest

from tests.hooks.conftest import Site
from tests.hooks.dashboard.gateway import SECRETS, given_up, ordered


def listed(page: str, letter: str) -> str:
    """The words of a dead letter on the page, without tags."""
    (entry,) = re.findall(rf'<li id="letter-{letter}">(.*?)</li>', page, re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", entry))


async def test_a_dead_letter_of_a_clients_hook_names_the_client_and_the_host(shop: Site) -> None:
    """With a link to the ticket that it was about; nothing else of the hook's address is shown."""
    ticket = await ordered(shop, task_id="t1")
    await ordered(shop, task_id="t1", client="bob", hook="https://elsewhere.example.com/")
    letter = await given_up(shop, ticket)
    page = (await shop.http.get("/operations")).text
    assert "ann's hook at bot.example.com:8443" in listed(page, letter).replace("&#39;", "'")
    assert "bob" not in listed(page, letter)
    assert f'href="/tickets/{ticket.id}"' in page
    assert [one for one in SECRETS if one in page] == []
    chinese = await shop.http.get("/operations", headers={"accept-language": "zh"})
    assert "ann 的通知地址（bot.example.com:8443）" in chinese.text


async def test_a_dead_letter_whose_ticket_was_removed_still_names_the_host(shop: Site) -> None:
    ticket = await ordered(shop, task_id="t1")
    letter = await given_up(shop, ticket, "hook:gone.example.com")
    page = (await shop.http.get("/operations")).text
    assert "a client's hook at gone.example.com" in listed(page, letter).replace("&#39;", "'")


@pytest.mark.parametrize(
    ("receiver", "words"),
    [
        ("window:1700000000000123", "answer to the window of ticket 1700000000000123"),
        ("confirm:end", "confirmation that a client's task has ended"),
        ("keep:picture", "a client's picture, to be kept"),
    ],
)
async def test_other_receivers_of_the_gateway_are_named_too(shop: Site, receiver: str, words: str) -> None:
    letter = await given_up(shop, await ordered(shop, task_id="t1"), receiver)
    page = (await shop.http.get("/operations")).text
    assert words in listed(page, letter).replace("&#39;", "'")


async def test_the_letters_of_one_hook_are_chosen_by_its_receiver(shop: Site) -> None:
    """The list offers hooks that have dead letters, beside the receivers that run here."""
    ticket = await ordered(shop, task_id="t1")
    kept, other = await given_up(shop, ticket), await given_up(shop, ticket, "hook:gone.example.com")
    page = (await shop.http.get("/operations?receiver=hook:bot.example.com:8443")).text
    assert f"letter-{kept}" in page
    assert f"letter-{other}" not in page
    assert '<option value="hook:bot.example.com:8443" selected>' in page
