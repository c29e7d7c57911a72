"""Windows of clients: a button that always opens one costs nothing until its window is answered, and then it is paid once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.support.customer import CLIENTS, Customer
from tests.support.shop import Shop, finished

pytestmark = pytest.mark.xdist_group("gateway windows")
SETTINGS = (
    CLIENTS
    + """
[[rules]]
name = "answer windows"
on = "submission.needs_modal"
modal = "a rule's words"
"""
)
MASK = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAG7buVgAAAABJRU5ErkJggg=="


def picture(shop: Shop, eventually: Any, prompt: str) -> str:
    """The ticket of a single picture, once it is done."""
    grid = finished(shop, eventually, prompt)
    made: str = shop.ann.press(grid, "U1")["result"]
    eventually(lambda: shop.ann.fetch(made)["status"] == "SUCCESS")
    return made


def of_windows(shop: Shop) -> list[str]:
    """The kinds of the submits that windows caused, as they came."""
    return [
        one.path.rsplit("/", 1)[-1]
        for one in shop.upstream.ledger.submits
        if one.path.endswith("/modal")
        or "CustomZoom" in one.custom_id
        or "Inpaint" in one.custom_id
        or "Pic" in one.custom_id
    ]


@pytest.mark.parametrize("label", ["Custom Zoom", "Vary (Region)"])
def test_an_abandoned_window_sends_nothing(shop: Shop, eventually: Any, label: str) -> None:
    """It is there at once, with the prompt in it, and shows as a window; the upstream hears nothing of it."""
    parent = picture(shop, eventually, f"abandoned {label}")
    before = len(shop.upstream.ledger.submits)
    told = shop.ann.press(parent, label)
    assert (told["code"], told["properties"]["remix"]) == (21, True)
    assert f"abandoned {label}" in told["properties"]["finalPrompt"]
    assert "confirm" in told["description"]
    assert shop.ann.fetch(told["result"])["status"] == "MODAL"
    # What is ordered next leaves, and nothing has left before it.
    after = shop.ann.imagine(f"after {label}")
    eventually(lambda: shop.ann.has_ended(after))
    assert [one.body.get("prompt") for one in shop.upstream.ledger.submits[before:]] == [f"after {label}"]


def test_an_abandoned_window_can_be_cancelled(shop: Shop, eventually: Any) -> None:
    parent = picture(shop, eventually, "given up")
    window = shop.ann.window(parent, "Custom Zoom")
    assert shop.ann.http.post(f"/task/{window}/cancel").json()["code"] == 1
    assert shop.ann.fetch(window)["status"] == "FAILURE"
    assert shop.ann.fetch(window)["failReason"]
    assert shop.ann.order("modal", taskId=window, prompt="too late")["code"] == 4
    assert "CustomZoom" not in "".join(shop.presses("given up"))


def test_a_window_is_answered_with_the_clients_words(shop: Shop, eventually: Any) -> None:
    """Action and modal are one order: one charge, and the window's ticket becomes the picture's."""
    parent = picture(shop, eventually, "zoomed")
    before = len(of_windows(shop))
    box = shop.mailbox()
    told = shop.ann.press(parent, "Custom Zoom", notifyHook=box.url, state="mine")
    assert shop.ann.ticket("modal", taskId=told["result"], prompt="zoomed --zoom 1.8") == told["result"]
    eventually(lambda: shop.ann.fetch(told["result"])["status"] == "SUCCESS")
    assert of_windows(shop)[before:] == ["action", "modal"]
    [paid] = shop.paid("zoomed --zoom 1.8")
    assert "CustomZoom" in paid.custom_id
    assert [message.task["state"] for message in box.until_it_ends(told["result"])][-1] == "mine"
    assert shop.ann.fetch(told["result"])["state"] == "mine"


def test_a_region_needs_its_mask(shop: Shop, eventually: Any) -> None:
    """Without a mask, or with one that is no picture, nothing is sent, and the window stays open for another answer."""
    parent = picture(shop, eventually, "region")
    window = shop.ann.window(parent, "Vary (Region)")
    for masks in ({}, {"maskBase64": "data:image/webp;base64,UklGRhwAAABXRUJQ"}):
        told = shop.ann.order("modal", taskId=window, prompt="a region without", **masks)
        assert (told["code"], told["result"]) == (4, None)
        assert "maskBase64" in told["description"]
    assert shop.ann.fetch(window)["status"] == "MODAL"
    assert shop.ann.ticket("modal", taskId=window, prompt="a region with", maskBase64=MASK) == window
    eventually(lambda: shop.ann.fetch(window)["status"] == "SUCCESS")
    assert len(shop.paid("a region with")) == 1
    assert shop.paid("a region without") == []


def test_a_text_of_a_describe_opens_a_window_with_that_text(shop: Shop, eventually: Any) -> None:
    described = shop.ann.ticket("describe", base64=MASK)
    eventually(lambda: shop.ann.fetch(described)["status"] == "SUCCESS")
    told = shop.ann.press(described, "2️⃣")
    assert told["properties"]["finalPrompt"] == "a picture of a cat, seen in way 2 --ar 1:1"
    shop.ann.ticket("modal", taskId=told["result"], prompt="described")
    eventually(lambda: shop.ann.fetch(told["result"])["status"] == "SUCCESS")
    assert len(shop.paid("described")) == 1


def test_a_second_answer_gets_the_ticket_of_the_first(shop: Shop, eventually: Any) -> None:
    """A repetition, other words, and five at once: one charge, for the words that came first."""
    parent = picture(shop, eventually, "answered often")
    window = shop.ann.window(parent, "Custom Zoom")
    told: list[Any] = []

    def answer(number: int) -> None:
        client = Customer(shop.server.url)
        told.append(client.order("modal", taskId=window, prompt=f"answer {number}"))
        client.close()

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    told.append(shop.ann.order("modal", taskId=window, prompt="answer 0"))
    eventually(lambda: shop.ann.fetch(window)["status"] == "SUCCESS")
    told.append(shop.ann.order("modal", taskId=window, prompt="later"))
    assert {(one["code"], one["result"]) for one in told} == {(1, window)}
    assert len([one for one in shop.upstream.ledger.paid("modal") if "answer " in one.body["prompt"]]) == 1
    assert shop.paid("later") == []


def test_a_window_that_a_full_queue_deleted_is_opened_again(shop: Shop, eventually: Any) -> None:
    """The upstream answers the modal with 23, which deletes its window: both are sent again, and one is paid."""
    parent = picture(shop, eventually, "deleted window")
    window = shop.ann.window(parent, "Custom Zoom")
    before = len(of_windows(shop))
    shop.upstream.next_submit("queue full", of="modal")
    assert shop.ann.ticket("modal", taskId=window, prompt="zoomed at last") == window
    eventually(lambda: shop.ann.has_ended(window))
    assert shop.ann.fetch(window)["status"] == "SUCCESS"
    assert of_windows(shop)[before:] == ["action", "modal", "action", "modal"]
    assert len(shop.paid("zoomed at last")) == 1


def test_an_answer_that_is_refused_ends_the_ticket_with_the_upstreams_words(
    shop: Shop, eventually: Any
) -> None:
    """The window stays open at the upstream; the client reads why its answer was not taken."""
    box = shop.mailbox()
    parent = picture(shop, eventually, "refused words")
    told = shop.ann.press(parent, "Custom Zoom", notifyHook=box.url)
    window = told["result"]
    shop.upstream.next_submit("banned", of="modal")
    shop.ann.ticket("modal", taskId=window, prompt="banned words")
    eventually(lambda: shop.ann.has_ended(window))
    task = shop.ann.fetch(window)
    assert (task["status"], task["failReason"]) == ("FAILURE", "code 24: 可能包含敏感词")
    assert box.until_it_ends(window)[-1].task["failReason"] == task["failReason"]
    # The refusal itself ends it, and not only the loop that looks after tickets which nothing else ends.
    messages = eventually(lambda: [one for one in messages_of(shop, window) if one["told"]])
    assert [one["signal"] for one in messages] == ["submission.rejected"]
    assert shop.paid("banned words") == []


def messages_of(shop: Shop, ticket: str) -> list[Any]:
    """What a ticket's hook was to be told, and what it answered."""
    messages: list[Any] = shop.server.get(f"/api/tickets/{ticket}")["messages"]
    return messages


def test_two_presses_of_one_button_are_two_windows(shop: Shop, eventually: Any) -> None:
    """Each is answered with words of its own: two pictures were ordered, and both are paid."""
    parent = picture(shop, eventually, "two windows")
    windows = [shop.ann.window(parent, "Custom Zoom") for _ in range(2)]
    for number, window in enumerate(windows):
        assert shop.ann.ticket("modal", taskId=window, prompt=f"window {number}") == window
    eventually(lambda: all(shop.ann.fetch(window)["status"] == "SUCCESS" for window in windows))
    assert [len(shop.paid(f"window {number}")) for number in range(2)] == [1, 1]


def test_rules_do_not_answer_the_windows_of_clients(shop: Shop, eventually: Any) -> None:
    """The rule of this module answers every window that it hears of, and none was the client's."""
    parent = picture(shop, eventually, "no rule")
    window = shop.ann.window(parent, "Custom Zoom")
    shop.ann.ticket("modal", taskId=window, prompt="the client's words")
    eventually(lambda: shop.ann.fetch(window)["status"] == "SUCCESS")
    assert shop.paid("a rule's words") == []
