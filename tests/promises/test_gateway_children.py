"""What rules make of a client's tasks is hidden from the client, listed for it, or told to its hook as well: as `children` says."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.customer import Customer, check_order
from tests.support.shop import Shop, finished

pytestmark = pytest.mark.xdist_group("gateway children")
SETTINGS = """
[clients.hides]
key = "hides-key-1"
hook_hosts = ["127.0.0.1"]

[clients.lists]
key = "lists-key-1"
hook_hosts = ["127.0.0.1"]
children = "list"

[clients.tells]
key = "tells-key-1"
hook_hosts = ["127.0.0.1"]
children = "tell"

[[rules]]
name = "upscale"
on = "task.succeeded"
if = "task.action == 'IMAGINE' and 'by a rule' in task.prompt"
press = "U1"

[[rules]]
name = "vary"
on = "task.succeeded"
if = "task.action == 'UPSCALE' and 'twice by a rule' in task.prompt"
press = "Vary (Subtle)"
"""


def children(customer: Customer, grid: str) -> list[Any]:
    """What its list has besides the grid and what came before it, the oldest first."""
    listed = customer.http.get("/task/list").json()
    ids = [task["id"] for task in listed]
    return list(reversed(listed[: ids.index(grid)]))


def test_children_are_hidden(shop: Shop, eventually: Any) -> None:
    """They are in no list, no queue, and no message."""
    box = shop.mailbox()
    grid = finished(shop, eventually, "hidden by a rule", who="hides", notifyHook=box.url, state="mine")
    eventually(lambda: shop.presses("hidden by a rule") == ["upsample 1"])
    eventually(lambda: ended_below(shop, "hidden by a rule"))
    finished(shop, eventually, "a witness", who="hides", notifyHook=box.url)
    assert {message.task["id"] for message in box.taken} - {grid} <= set(shop["hides"].ids_of("/task/list"))
    assert len(children(shop["hides"], grid)) == 1, "the witness"


def test_children_are_listed_and_not_told(shop: Shop, eventually: Any) -> None:
    box, lists = shop.mailbox(), shop["lists"]
    grid = finished(shop, eventually, "listed by a rule", who="lists", notifyHook=box.url, state="mine")
    eventually(lambda: [child["status"] for child in children(lists, grid)] == ["SUCCESS"])
    [child] = children(lists, grid)
    assert (child["action"], child["state"]) == ("UPSCALE", None)
    assert lists.fetch(child["id"]) == child
    check_order(box.until_it_ends(grid))
    assert {message.task["id"] for message in box.taken} == {grid}
    assert shop["tells"].http.get(f"/task/{child['id']}/fetch").status_code == 404


def test_children_are_told_as_the_clients_own(shop: Shop, eventually: Any) -> None:
    """Each has a ticket of its own, the client's `state`, and is told once and in order."""
    box, tells = shop.mailbox(), shop["tells"]
    grid = finished(shop, eventually, "told by a rule", who="tells", notifyHook=box.url, state='{"chat": 7}')
    check_order(box.until_it_ends(grid))
    box.until(lambda: len({message.task["id"] for message in box.taken}) == 2)
    [child] = {message.task["id"] for message in box.taken} - {grid}
    messages = box.until_it_ends(child)
    check_order(messages)
    assert {message.task["state"] for message in messages} == {'{"chat": 7}'}
    assert messages[-1].task == tells.fetch(child)
    assert shop.presses("told by a rule") == ["upsample 1"]


def test_a_told_child_can_be_pressed_and_its_own_children_are_told(shop: Shop, eventually: Any) -> None:
    """The client presses a button of a child that a rule made; a rule presses another one. Each is paid once."""
    box, tells = shop.mailbox(), shop["tells"]
    grid = finished(shop, eventually, "twice by a rule", who="tells", notifyHook=box.url)
    eventually(lambda: [child["status"] for child in children(tells, grid)] == ["SUCCESS", "SUCCESS"])
    upscale, _ = children(tells, grid)
    assert upscale["action"] == "UPSCALE"
    told = tells.press(upscale["id"], "Vary (Strong)")
    assert told["code"] == 1
    check_order(box.until_it_ends(grid))
    eventually(lambda: tells.has_ended(told["result"]))
    assert len({message.task["id"] for message in box.taken}) == 3, (
        "the grid and what rules made; no hook was given for the press"
    )
    assert below(shop, "twice by a rule") == ["upsample", "low_variation", "high_variation"]


def below(shop: Shop, prompt: str) -> list[str]:
    """The buttons that were paid for below the picture of this prompt, at any depth."""
    ids = {shop.task(prompt).id}
    found: list[str] = []
    for one in shop.upstream.ledger.paid("action"):
        if one.body.get("taskId") in ids:
            ids.add(one.task_id)
            found.append(one.custom_id.split("::")[2])
    return found


def ended_below(shop: Shop, prompt: str) -> bool:
    """True if hookchain knows the end of what a rule pressed on the picture of this prompt."""
    parent = shop.task(prompt).id
    tasks = shop.server.http.get("/api/tasks?limit=200").json()["tasks"]
    return [task["status"] for task in tasks if task["parent_id"] == parent] == ["SUCCESS"]
