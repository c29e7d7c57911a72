"""What clients order is paid once: the same order again by accident is the same ticket, again on purpose another one. The upstream's
ledger says what was paid."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.support.customer import CLIENTS
from tests.support.shop import Shop, finished

pytestmark = pytest.mark.xdist_group("gateway orders")
SETTINGS = CLIENTS


def test_the_same_imagine_on_purpose_is_two_orders(shop: Shop, eventually: Any) -> None:
    """The client has the answer to the first when it sends the second."""
    tickets = {shop.ann.imagine("twice on purpose") for _ in range(2)}
    assert len(tickets) == 2
    eventually(lambda: all(shop.ann.has_ended(ticket) for ticket in tickets))
    assert len(shop.paid("twice on purpose")) == 2


@contextmanager
def cut_off(shop: Shop, **body: object) -> Iterator[None]:
    """An order whose client hangs up, after the block, before it has the answer."""
    written = json.dumps(body).encode()
    address = urlsplit(shop.server.url)
    with socket.create_connection((address.hostname, address.port)) as client:
        head = f"POST /mj/submit/imagine HTTP/1.1\r\nhost: x\r\nmj-api-secret: ann-key-1\r\ncontent-length: {len(written)}\r\n\r\n"
        client.sendall(head.encode() + written)
        yield


def test_an_order_whose_answer_was_cut_off_is_recognised(shop: Shop, eventually: Any) -> None:
    """The client hangs up while the upstream takes the order, and sends it again before and after the upstream has answered. Once it
    has its answer, the same body is a new order."""
    prompt = "cut off"
    with shop.while_it(registers_after_s=0.5), cut_off(shop, prompt=prompt):
        shop.upstream.ledger.until(
            lambda: [one for one in shop.upstream.ledger.came("imagine") if one.body["prompt"] == prompt]
        )
    eventually(lambda: shop.paid(prompt))
    [listed] = [task["id"] for task in shop.ann.http.get("/task/list").json() if task["prompt"] == prompt]
    assert shop.ann.imagine(prompt) == listed
    assert shop.ann.imagine(prompt) != listed
    eventually(lambda: len(shop.paid(prompt)) == 2)


def test_the_same_order_while_the_first_is_unanswered_is_one(shop: Shop, eventually: Any) -> None:
    """A client that waited too long sends it again over another connection, while the first still waits."""
    prompt = "impatient"
    with shop.while_it(registers_after_s=1), cut_off(shop, prompt=prompt):
        shop.upstream.ledger.until(
            lambda: [one for one in shop.upstream.ledger.came("imagine") if one.body["prompt"] == prompt]
        )
        ticket = shop.ann.imagine(prompt)
    eventually(lambda: shop.ann.has_ended(ticket))
    assert len(shop.paid(prompt)) == 1


def test_an_idempotency_key_is_the_same_ticket_for_ever(shop: Shop, eventually: Any) -> None:
    """Although each answer is delivered. The keys of two clients have nothing to do with each other."""
    tickets = {shop.ann.imagine("with a key", key="order 7") for _ in range(3)}
    assert len(tickets) == 1
    eventually(lambda: shop.ann.has_ended(*tickets))
    assert {shop.ann.imagine("with a key", key="order 7")} == tickets
    assert len(shop.paid("with a key")) == 1
    assert {shop.bob.imagine("with a key", key="order 7")} != tickets
    assert len(shop.paid("with a key")) == 2


def test_an_idempotency_key_with_another_body_is_refused(shop: Shop) -> None:
    shop.ann.imagine("a body", key="order 8")
    told = shop.ann.order("imagine", prompt="another body", key="order 8")
    assert (told["code"], told["result"]) == (4, None)
    assert shop.paid("another body") == []


def test_an_upscale_is_one_thing(shop: Shop, eventually: Any) -> None:
    """Whoever presses it again, later too, gets the task that was made: code 1, never 21, and not paid."""
    grid = finished(shop, eventually, "upscaled again")
    first = shop.ann.press(grid, "U1")
    eventually(lambda: shop.ann.has_ended(first["result"]))
    again = shop.ann.press(grid, "U1")
    as_change = shop.ann.order("change", taskId=grid, action="UPSCALE", index=1)
    as_text = shop.ann.order("simple-change", content=f"{grid} U1")
    for told in (first, again, as_change, as_text):
        assert told["code"] == 1
        eventually(lambda told=told: shop.ann.fetch(told["result"])["status"] == "SUCCESS")
    assert shop.presses("upscaled again") == ["upsample 1"]
    pictures = {shop.ann.fetch(told["result"])["imageUrl"] for told in (first, again, as_change, as_text)}
    assert len(pictures) == 1


def test_an_upscale_that_failed_is_made_again(shop: Shop, eventually: Any) -> None:
    grid = finished(shop, eventually, "upscaled in vain")
    with shop.while_it(fails_with="no luck"):
        first = shop.ann.press(grid, "U2")["result"]
        eventually(lambda: shop.ann.fetch(first)["status"] == "FAILURE")
    second = shop.ann.press(grid, "U2")["result"]
    eventually(lambda: shop.ann.fetch(second)["status"] == "SUCCESS")
    assert shop.ann.fetch(first)["failReason"] == "no luck"
    assert shop.presses("upscaled in vain") == ["upsample 2"] * 2


@pytest.mark.parametrize(("label", "press"), [("V1", "variation 1"), ("🔄", "reroll 0")])
def test_a_variation_or_a_reroll_is_made_as_often_as_it_is_ordered(
    shop: Shop, eventually: Any, label: str, press: str
) -> None:
    prompt = f"made again by {label}"
    grid = finished(shop, eventually, prompt)
    made = [shop.ann.press(grid, label)["result"] for _ in range(2)]
    eventually(lambda: all(shop.ann.fetch(one)["status"] == "SUCCESS" for one in made))
    assert len(set(made)) == 2
    assert shop.presses(prompt) == [press] * 2


def test_a_full_queue_is_no_matter_of_the_client(shop: Shop, eventually: Any) -> None:
    """Code 1 at once; it is sent again until the upstream takes it, and is paid once."""
    shop.upstream.next_submit("queue full", of="imagine")
    ticket = shop.ann.imagine("queue full")
    shop.upstream.ledger.until(lambda: shop.paid("queue full"))
    eventually(lambda: shop.ann.fetch(ticket)["status"] == "SUCCESS")
    assert [one.code for one in shop.upstream.ledger.submits if one.body.get("prompt") == "queue full"] == [
        23,
        1,
    ]


def test_a_banned_prompt_is_said_with_its_word(shop: Shop) -> None:
    shop.upstream.next_submit("banned", of="imagine")
    told = shop.ann.order("imagine", prompt="a banned cat")
    assert (told["code"], told["result"], told["properties"]["bannedWord"]) == (24, None, "cat")
    assert shop.paid("a banned cat") == []


def test_a_picture_that_nobody_can_load_is_named_with_its_reason(shop: Shop) -> None:
    """It was not sent, so it is not the upstream that refused it; nothing is paid."""
    told = shop.ann.order("imagine", prompt="a private picture", base64Array=["http://10.0.0.5/x.png"])
    assert (told["code"], told["result"]) == (4, None)
    assert told["description"].startswith("base64Array")
    assert "private network" in told["description"]
    assert shop.paid("a private picture") == []


def test_a_local_refusal_names_the_field(shop: Shop) -> None:
    before = len(shop.upstream.ledger.requests)
    for kind, body, field in (
        ("imagine", {}, "prompt"),
        ("imagine", {"prompt": 7.5}, "prompt"),
        ("imagine", {"prompt": "a cat", "state": 7}, "state"),
        ("action", {"taskId": "1"}, "customId"),
        ("change", {"taskId": "1"}, "action"),
        ("blend", {}, "base64Array"),
        ("describe", {}, "base64"),
        ("modal", {"prompt": "x"}, "taskId"),
    ):
        told = shop.ann.order(kind, **body)
        assert (told["code"], told["result"]) == (4, None), told
        assert field in told["description"]
        assert set(told) == {"code", "description", "result", "properties"}
    assert not [one for one in shop.upstream.ledger.requests[before:] if "/submit/" in one.path]
