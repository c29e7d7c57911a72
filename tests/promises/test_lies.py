"""An upstream that lies: ends that contradict, late content, two names for one task, old work told as news. `tests/hostile` is
that upstream; it shares no code with the product or its sandbox, and its ledger is the judge. "Nothing happened" is looked at
once an honest chain that came later has all its presses, and no event, delivery or submission waits any more.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.witness import (
    UPSCALES,
    is_quiet,
    labels_of,
    presses_of,
    succeeded,
    wait_for_an_honest_chain,
)

WORD = "magenta"
# 3. Ends that contradict.


@pytest.mark.parametrize("end", ["FAILURE", "CANCEL"])
def test_a_success_after_a_false_end(start_hostile: Any, serve: Any, eventually: Any, end: str) -> None:
    """The upstream itself says so too early, and everywhere; then comes the picture. It is upscaled, and told once."""
    upstream = start_hostile()
    server = serve(upstream)
    task = upstream.running()
    upstream.fail(task) if end == "FAILURE" else upstream.cancel(task)
    upstream.tell(task, server.hook)
    eventually(lambda: server.get(f"/api/tasks/main/{task.id}")["status"] == end)
    upstream.finish(task)
    upstream.tell(task, server.hook)
    eventually(lambda: server.get(f"/api/tasks/main/{task.id}")["status"] == "SUCCESS")
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert len(succeeded(server, task)) == 1


@pytest.mark.parametrize("end", ["FAILURE", "CANCEL"])
def test_a_forged_end_ends_no_chain(start_hostile: Any, serve: Any, eventually: Any, end: str) -> None:
    """Our own imagine runs; a stranger says it is over. It is upscaled when it is done."""
    upstream = start_hostile(holds=True)
    server = serve(upstream)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: upstream.ledger.paid("imagine"))
    upstream.caller.wait_until_none_is_due()
    [task] = upstream.shelf.all()
    upstream.call_back(server.hook, task, status=end, failReason=WORD)
    upstream.change(holds=False)
    upstream.go_on(task)
    upstream.caller.wait_until_none_is_due()
    eventually(lambda: server.get(f"/api/tasks/main/{task.id}")["status"] == "SUCCESS")
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert len(succeeded(server, task)) == 1


# 5. Content that comes late.


def test_buttons_that_come_late_are_pressed(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """SUCCESS without buttons, then the same with them: receivers hear once that it can be pressed."""
    upstream = start_hostile()
    server = serve(upstream)
    task = upstream.running()
    upstream.finish(task, without=frozenset({"buttons", "imageUrl", "finalPrompt"}))
    upstream.tell(task, server.hook)
    eventually(lambda: is_quiet(server))
    upstream.give_buttons(task)
    upstream.tell(task, server.hook)
    upstream.tell(task, server.hook)
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    shown = server.get(f"/api/tasks/main/{task.id}")
    assert len(shown["buttons"]) == 9
    assert shown["image_url"] == task.shown(upstream.manners)["imageUrl"]


def test_a_press_by_hand_reads_the_task_back(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """The buttons came late, and no callback told of them: the upstream is asked before the press is refused."""
    upstream = start_hostile()
    server = serve(upstream)
    task = upstream.running()
    upstream.finish(task, without=frozenset({"buttons"}))
    upstream.tell(task, server.hook)
    eventually(lambda: is_quiet(server))
    upstream.give_buttons(task)
    answer = server.http.post("/api/submissions", json={"kind": "press", "task_id": task.id, "button": "U2"})
    assert answer.is_success, answer.text
    eventually(lambda: "upsample 2" in labels_of(presses_of(upstream, task)))
    assert upstream.ledger.pressed_twice() == []


# 7. Two names for one task.


@pytest.mark.parametrize("also_told", [False, True], ids=["told by one name", "told by both names"])
@pytest.mark.parametrize("dialect", ["mj-plus", "trueai"])
def test_two_ids_are_one_picture(
    start_hostile: Any, serve: Any, eventually: Any, dialect: str, also_told: bool
) -> None:
    """The answer has the relay's id, the callbacks the one behind it, and both can be read: four presses."""
    upstream = start_hostile(relay="both")
    server = serve(upstream, dialect=dialect)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: upstream.ledger.paid("imagine"))
    upstream.caller.wait_until_none_is_due()
    task = upstream.shelf.all()[0]
    if also_told:
        upstream.call_back(server.hook, task, id=task.front_id)
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    eventually(lambda: not open_tasks(server))
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert upstream.ledger.pressed_twice() == []


def full_width(task_id: str, at: int) -> str:
    return task_id[:at] + chr(ord("０") + int(task_id[at])) + task_id[at + 1 :]


@pytest.mark.parametrize("real_is_first", [True, False], ids=["after the real id", "before it"])
def test_other_spellings_of_an_id_are_the_same_picture(
    start_hostile: Any, serve: Any, eventually: Any, real_is_first: bool
) -> None:
    """Somebody who knows the hook tells of a picture of another program by five spellings that the upstream finds as well."""
    upstream = start_hostile(finds_loosely=True)
    server = serve(upstream)
    task = upstream.finished_grid("a cat")
    spellings = [full_width(task.id, at) for at in range(1, 6)]
    for name in [task.id, *spellings] if real_is_first else [*spellings, task.id]:
        upstream.call_back(server.hook, task, id=name)
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    eventually(lambda: not waiting_deliveries(server))
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert upstream.ledger.pressed_twice() == []
    assert {server.get(f"/api/tasks/main/{name}")["id"] for name in spellings} == {task.id}


def waiting_deliveries(server: Any) -> list[Any]:
    found = server.get("/api/deliveries?limit=500")["deliveries"]
    return [one for one in found if one["state"] in ("waiting", "running")]


def open_tasks(server: Any) -> list[str]:
    """Tasks that are still to end, as far as the server knows."""
    tasks = server.get("/api/tasks?limit=500")["tasks"]
    return [task["id"] for task in tasks if task["status"] not in ("SUCCESS", "FAILURE", "CANCEL", "LOST")]


# 10. History is not news.


@pytest.mark.parametrize(
    "past",
    [
        pytest.param({"pressed": ("U1", "U2", "U3", "U4")}, id="green buttons and children"),
        pytest.param({"pressed": ("U1", "U2", "U3", "U4"), "has_children": False}, id="green buttons"),
        pytest.param({"pressed": ("U1", "U2", "U3", "U4"), "is_green": False}, id="children"),
        pytest.param({}, id="an old end"),
    ],
)
@pytest.mark.parametrize("tells_parent", [False, True], ids=["no parent id", "parent id"])
def test_what_is_told_again_is_not_paid_again(
    start_hostile: Any, serve: Any, eventually: Any, past: dict[str, Any], tells_parent: bool
) -> None:
    """The database is new, and the upstream has restarted: it tells again of an hour ago. News is upscaled all the same."""
    upstream = start_hostile(tells_parent=tells_parent)
    old = upstream.finished_grid("an old cat", ago_s=3600, **past)
    server = serve(upstream, dialect="trueai" if tells_parent else "mj-plus")
    assert upstream.restart(hook=server.hook) == (5 if past.get("has_children", bool(past)) else 1)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert presses_of(upstream, old) == []


def test_what_others_run_at_our_first_start_is_followed_once_it_calls(
    start_hostile: Any, serve: Any, eventually: Any
) -> None:
    """The account is shared: a list of running tasks tells not whose they are, and their pictures are not ours to press."""
    upstream = start_hostile()
    theirs, told = upstream.running("theirs"), upstream.running("told to us")
    server = serve(upstream)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert server.http.get(f"/api/tasks/main/{theirs.id}").status_code == 404
    upstream.finish(theirs)
    upstream.finish(told)
    upstream.tell(told, server.hook)
    eventually(lambda: len(presses_of(upstream, told)) == 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert presses_of(upstream, theirs) == []
