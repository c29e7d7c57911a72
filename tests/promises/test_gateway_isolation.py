"""Clients share upstreams, and nothing else: another client's task does not exist, neither by its ticket nor by the upstream's id behind
it. Limits hold for each client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.customer import CLIENTS, Customer
from tests.support.shop import Shop, finished

pytestmark = pytest.mark.xdist_group("gateway isolation")
SETTINGS = (
    CLIENTS
    + """
[clients.one]
key = "one-key-1"
at_once = 1

[clients.short]
key = "short-key-1"
queue_max = 2

[clients.slow]
key = "slow-key-1"
rate = 2

[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.is_grid and 'for the rule' in task.prompt"
press = "U1"
"""
)

ASKS: dict[str, Callable[[Customer, str], Any]] = {
    "fetch": lambda client, given: client.http.get(f"/task/{given}/fetch"),
    "refresh": lambda client, given: client.http.get(f"/task/{given}/refresh"),
    "cancel": lambda client, given: client.http.post(f"/task/{given}/cancel"),
    "image-seed": lambda client, given: client.http.get(f"/task/{given}/image-seed"),
}
ORDERS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "action": lambda given: ("action", {"taskId": given, "customId": "MJ::JOB::upsample::1::x"}),
    "change": lambda given: ("change", {"taskId": given, "action": "UPSCALE", "index": 1}),
    "simple-change": lambda given: ("simple-change", {"content": f"{given} U1"}),
    "modal": lambda given: ("modal", {"taskId": given, "prompt": "mine"}),
    "video": lambda given: ("video", {"taskId": given, "prompt": "mine", "motion": "low"}),
}


@pytest.fixture(scope="module")
def anns(shop: Shop) -> list[str]:
    """The ids of a task of ann's: her ticket, and the upstream's behind it."""
    ticket = shop.ann.imagine("ann's own")
    shop.upstream.ledger.until(lambda: shop.paid("ann's own"))
    return [ticket, shop.task("ann's own").id]


@pytest.mark.parametrize("ask", ASKS)
def test_another_clients_task_is_unknown(shop: Shop, anns: list[str], ask: str) -> None:
    """The upstream is not asked about it either."""
    before = len(shop.upstream.ledger.requests)
    for given in anns:
        told = ASKS[ask](shop.bob, given)
        assert (told.status_code, told.json()["code"]) == (404, 3)
        assert told.json()["description"] == f"there is no task {given!r}"
    assert not [one for one in shop.upstream.ledger.requests[before:] if one.kind in ("image-seed", "cancel")]


@pytest.mark.parametrize("ask", ASKS)
def test_an_id_that_nobody_has_is_answered_alike(shop: Shop, ask: str) -> None:
    """Otherwise the answer would tell which ids other clients have."""
    told = ASKS[ask](shop.bob, "1700000000000123")
    assert (told.status_code, told.json()["code"]) == (404, 3)
    assert told.json()["description"] == "there is no task '1700000000000123'"


@pytest.mark.parametrize("order", ORDERS)
def test_another_clients_task_cannot_be_pressed(shop: Shop, anns: list[str], order: str) -> None:
    before = len(shop.upstream.ledger.submits)
    for given in anns:
        kind, body = ORDERS[order](given)
        told = shop.bob.order(kind, **body)
        assert (told["code"], told["result"]) == (3, None)
        assert "ann" not in told["description"].replace(given, "")
    assert len(shop.upstream.ledger.submits) == before


def test_another_clients_task_is_in_no_list(shop: Shop, anns: list[str], eventually: Any) -> None:
    mine = finished(shop, eventually, "bob's own", "bob")
    assert [task["id"] for task in shop.bob.among(*anns, mine)] == [mine]
    assert [task["id"] for task in shop.bob.among(*map(int, anns), int(mine))] == [mine]
    listed = shop.bob.http.post("/task/list-by-ids", json={"ids": [*anns, mine]}).json()
    assert [task["id"] for task in listed] == [mine]
    page = shop.bob.http.post("/task/query", json={"pageNumber": 0, "pageSize": 100}).json()["content"]
    for shown in (shop.bob.ids_of("/task/list"), shop.bob.ids_of("/task/queue"), [one["id"] for one in page]):
        assert not set(anns) & set(shown)


def test_both_ids_of_a_relay_are_hidden(shop: Shop, eventually: Any) -> None:
    """The answer to the submit has one id, and callbacks another."""
    with shop.while_it(relay="both"):
        ticket = finished(shop, eventually, "ann's at a relay")
        task = shop.task("ann's at a relay")
        assert task.front_id != task.id
        for given in (ticket, *task.names):
            assert shop.bob.http.get(f"/task/{given}/fetch").status_code == 404
            assert shop.bob.order("change", taskId=given, action="UPSCALE", index=1)["code"] == 3


def test_what_a_client_made_of_an_old_task_is_its_own(shop: Shop, eventually: Any) -> None:
    """All may use the picture from before the switch, whose chain nobody here began; what ann made of it is hers."""
    pressed = shop.ann.press(shop.before.id, "U1")["result"]
    eventually(lambda: shop.ann.fetch(pressed)["status"] == "SUCCESS")
    child = next(task for task in shop.upstream.shelf.all() if task.parent_id == shop.before.id)
    assert shop.bob.fetch(shop.before.id)["status"] == "SUCCESS"
    assert shop.bob.http.get(f"/task/{child.id}/fetch").status_code == 404
    assert shop.bob.among(child.id) == []


def test_what_a_rule_made_of_a_clients_task_is_hidden_from_others(shop: Shop, eventually: Any) -> None:
    """The child has no ticket. Its client may use it by the upstream's id; to another it does not exist."""
    finished(shop, eventually, "ann's for the rule")
    eventually(lambda: shop.presses("ann's for the rule") == ["upsample 1"])
    child = next(
        task for task in shop.upstream.shelf.all() if task.parent_id == shop.task("ann's for the rule").id
    )
    eventually(lambda: shop.server.http.get(f"/api/tasks/main/{child.id}").json().get("status") == "SUCCESS")
    assert child.id not in shop.ann.ids_of("/task/list"), "children are hidden"
    assert shop.bob.http.get(f"/task/{child.id}/fetch").status_code == 404
    assert shop.bob.order("change", taskId=child.id, action="REROLL")["code"] == 3


def test_a_client_with_too_many_open_tasks_is_told_to_come_back(shop: Shop, eventually: Any) -> None:
    """One of its tasks runs, and it may have one. When that has ended, the next is taken."""
    with shop.while_it(holds=True):
        first = shop["one"].imagine("one at once")
        told = shop["one"].order("imagine", prompt="two at once")
        assert (told["code"], told["result"]) == (23, None)
        shop.upstream.go_on(shop.task("one at once"))
    eventually(lambda: shop["one"].has_ended(first))
    second = shop["one"].imagine("then the next")
    eventually(lambda: shop["one"].has_ended(second))
    assert shop.paid("two at once") == []


def test_a_window_can_be_answered_by_a_client_at_its_limit(shop: Shop, eventually: Any) -> None:
    """The open window is the one task that the client may have. Its answer is not another one."""
    grid = finished(shop, eventually, "zoomed at the limit", "one")
    upscaled = shop["one"].press(grid, "U1")["result"]
    eventually(lambda: shop["one"].has_ended(upscaled))
    window = shop["one"].window(upscaled, "Custom Zoom")
    told = shop["one"].order("modal", taskId=window, prompt="wider --zoom 1.5")
    assert (told["code"], told["result"]) == (1, window)
    eventually(lambda: shop["one"].has_ended(window))


def test_a_client_may_have_so_many_tasks_that_wait(shop: Shop, eventually: Any) -> None:
    """The upstream is paused, and tasks are accepted until the client's queue is full."""
    shop.server.http.post("/api/upstreams/main/pause").raise_for_status()
    tickets = [shop["short"].imagine(f"waits {number}") for number in range(2)]
    told = shop["short"].order("imagine", prompt="waits in vain")
    assert (told["code"], told["result"]) == (23, None)
    shop.server.http.post("/api/upstreams/main/resume").raise_for_status()
    eventually(lambda: all(shop["short"].has_ended(ticket) for ticket in tickets))
    assert shop.paid("waits in vain") == []


def test_a_client_that_submits_too_quickly_is_told_to_come_back(shop: Shop) -> None:
    """Two a second."""
    codes = [shop["slow"].order("imagine", prompt=f"quick {number}")["code"] for number in range(4)]
    assert codes[:2] == [1, 1]
    assert 23 in codes[2:]
