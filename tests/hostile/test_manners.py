"""What the hostile upstream shows and hides, when it takes a submit, how it loses answers, and how many jobs run."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest

from tests.hostile.losing import Loss
from tests.hostile.manners import Manners
from tests.hostile.parts import Client, Listener
from tests.hostile.upstream import hostile


def listed(client: Client) -> list[str]:
    return [task["id"] for task in client.http.get("/task/list").json()]


def test_a_list_that_is_behind() -> None:
    """A task is in the list once it is old enough; a single fetch knows it at once, and it may be behind by a count too."""
    with hostile(Manners(list_behind_s=20)) as upstream:
        client = Client(upstream)
        first = client.submit("imagine", prompt="a cat")["result"]
        assert listed(client) == []
        assert client.fetch(first)["id"] == first
        upstream.clock.advance(21)
        second = client.submit("imagine", prompt="a dog")["result"]
        assert listed(client) == [first]
        upstream.change(list_behind_s=0)
        assert listed(client) == [second, first]


def test_marks_on_some_kinds_only() -> None:
    """`state` and the hook come back on the kinds that show them, in lists as in single fetches."""
    with hostile(Manners(state_on=frozenset({"imagine"}), hook_on=frozenset({"action"}))) as upstream:
        client = Client(upstream, f"{upstream.sink}/hook")
        grid = client.submit("imagine", prompt="a cat")["result"]
        single = client.press(grid, "U1")["result"]
        window = client.press(single, "Custom Zoom")["result"]
        for name, state, hook in (
            (grid, "mine", None),
            (single, None, client.hook),
            (window, None, client.hook),
        ):
            task = client.fetch(name)
            assert (task["state"], task["properties"].get("notifyHook")) == (state, hook)
            assert task in client.http.get("/task/list").json()


def test_a_submit_that_is_registered_later_than_it_came() -> None:
    """Its answer waits for that. Where the sender has gone meanwhile, it is registered all the same."""
    with hostile(Manners(registers_after_s=24, registers_late=frozenset({"imagine"}))) as upstream:
        client = Client(upstream)
        with pytest.raises(httpx.ReadTimeout):
            client.http.post("/submit/imagine", json={"prompt": "a cat"}, timeout=0.05)
        waiting = threading.Thread(target=client.submit, args=("imagine",), kwargs={"prompt": "a dog"})
        waiting.start()
        upstream.ledger.until(lambda: len(upstream.ledger.requests) == 2)
        assert upstream.ledger.submits == []
        assert client.submit("action", taskId="1", customId="x")["code"] == 3
        upstream.clock.advance(24)
        waiting.join()
        upstream.caller.wait_until_none_is_due()
        assert [one.body["prompt"] for one in upstream.ledger.paid()] == ["a cat", "a dog"]


LOSSES: list[tuple[Loss, Any]] = [
    ("lost", httpx.RemoteProtocolError),
    ("closed", httpx.RemoteProtocolError),
    ("reset", httpx.ReadError),
    ("silence", httpx.ReadTimeout),
    ("502", 502),
    ("504", 504),
]


def post(client: Client, prompt: str) -> Any:
    """The status of the answer, or the kind of error that came instead."""
    try:
        return client.http.post("/submit/imagine", json={"prompt": prompt}, timeout=0.3).status_code
    except httpx.HTTPError as error:
        return type(error)


def test_answers_are_lost_after_acceptance() -> None:
    """In each of the ways; the task is there and paid."""
    with hostile() as upstream:
        client = Client(upstream)
        for how, seen in LOSSES:
            upstream.next_submit(how)
            assert post(client, how) == seen, how
        upstream.caller.wait_until_none_is_due()
        assert [one.body["prompt"] for one in upstream.ledger.paid()] == [how for how, _ in LOSSES]
        assert {task.status for task in upstream.shelf.all()} == {"SUCCESS"}


def test_answers_are_lost_before_the_submit_is_registered() -> None:
    """A gateway in front gives up, and the server behind it takes the submit 24 s later."""
    with hostile(Manners(loses_at_once=True, registers_after_s=24)) as upstream:
        client = Client(upstream)
        for how, seen in LOSSES:
            upstream.next_submit(how)
            assert post(client, how) == seen, how
        assert upstream.ledger.submits == []
        upstream.clock.advance(24)
        upstream.ledger.until(lambda: len(upstream.ledger.submits) == len(LOSSES))
        assert len(upstream.ledger.paid()) == len(LOSSES)


@pytest.mark.parametrize(("how", "seen"), [("dropped", httpx.RemoteProtocolError), ("unpaid 502", 502)])
def test_submits_that_never_come_so_far(how: Any, seen: Any) -> None:
    """The sender sees the same as where an answer is lost, and nothing is paid."""
    with hostile() as upstream:
        client = Client(upstream)
        upstream.next_submit(how)
        assert post(client, "a cat") == seen
        assert (upstream.ledger.paid(), upstream.shelf.all()) == ([], [])


def test_questions_that_are_not_answered() -> None:
    """The list, the batch and the single fetch are missing, broken or silent, each apart from the others."""
    with hostile() as upstream:
        client = Client(upstream)
        task = upstream.finished_grid()
        body = {"ids": [task.id]}
        for says in ("404", "405", "500"):
            upstream.change(list_says=says)
            assert client.http.get("/task/list").status_code == int(says)
            assert client.batch(task.id) == [client.fetch(task.id)["id"]] == [task.id]
        upstream.change(list_says="", fetch_says="404", batch_says="500")
        assert listed(client) == [task.id]
        assert client.http.get(f"/task/{task.id}/fetch").status_code == 404
        assert client.http.post("/task/list-by-condition", json=body).status_code == 500
        upstream.change(fetch_says="", batch_says="", list_says="silence")
        with pytest.raises(httpx.ReadTimeout):
            client.http.get("/task/list", timeout=0.05)
        assert client.fetch(task.id)["id"] == task.id


def test_a_full_queue_deletes_the_window() -> None:
    """By plan, or since there are so many jobs: code 23, and the window of that answer is gone."""
    with hostile() as upstream:
        client = Client(upstream)
        single = client.press(upstream.finished_grid().id, "U1")["result"]
        window = client.press(single, "Custom Zoom")["result"]
        upstream.next_submit("queue full", of="modal")
        assert client.submit("modal", taskId=window, prompt="x")["code"] == 23
        again = client.press(single, "Custom Zoom")["result"]
        upstream.change(jobs=1, queue=0, holds=True)
        assert client.submit("imagine", prompt="a cat")["code"] == 1
        assert client.submit("modal", taskId=again, prompt="x")["code"] == 23
        for gone in (window, again):
            assert client.http.get(f"/task/{gone}/fetch").content == b""
        assert upstream.ledger.paid("CustomZoom") == []


def test_so_many_jobs_run_at_a_time(listener: Listener) -> None:
    """The others wait with code 22, are told nothing of, and get their places in turn; one too many is refused."""
    with hostile(Manners(jobs=2, queue=2, holds=True)) as upstream:
        client = Client(upstream, listener.url)
        answers = [client.submit("imagine", prompt=f"cat {n}") for n in range(5)]
        assert [answer["code"] for answer in answers] == [1, 1, 22, 22, 23]
        assert answers[3]["properties"]["numberOfQueues"] == 2
        assert listener.statuses == ["SUBMITTED"] * 2
        first, second, third, _ = upstream.shelf.all()
        upstream.go_on(second)
        upstream.caller.wait_until_none_is_due()
        assert (first.status, second.status, third.status) == ("SUBMITTED", "SUCCESS", "SUBMITTED")
        assert listener.statuses.count("SUBMITTED") == 3
        assert client.submit("imagine", prompt="cat 5")["code"] == 22
        upstream.change(holds=False)
        while [task for task in upstream.shelf.all() if not task.has_ended]:
            upstream.go_on()
            upstream.caller.wait_until_none_is_due()
        assert listener.statuses.count("SUCCESS") == 5
        assert (len(upstream.ledger.paid()), upstream.ledger.most_open) == (5, 4)


def test_a_window_whose_answer_waits_can_be_paid_twice() -> None:
    """While the answer waits for its place the task is still a window, as in Plus: a second answer is a second job."""
    with hostile(Manners(jobs=1, holds=True)) as upstream:
        client = Client(upstream)
        upstream.finished_grid(pressed=("U1",))
        [single] = [task for task in upstream.shelf.all() if task.action == "UPSCALE"]
        name = client.press(single.id, "Custom Zoom")["result"]
        client.submit("imagine", prompt="a cat")
        codes = [client.submit("modal", taskId=name, prompt="x")["code"] for _ in range(2)]
        assert codes == [22, 22]
        assert upstream.ledger.paid_twice() == [f"MJ::CustomZoom::{single.job}"]


def test_work_takes_its_time_on_the_upstreams_clock(listener: Listener) -> None:
    """Nobody sleeps: the test moves the clock on."""
    with hostile(Manners(works_s=45)) as upstream:
        client = Client(upstream, listener.url)
        task = client.submit("imagine", prompt="a cat")["result"]
        assert client.fetch(task)["status"] == "SUBMITTED"
        upstream.clock.advance(46)
        [finished] = upstream.shelf.all()
        listener.until(lambda: finished.has_ended and len(listener.heard) == 3)
        assert listener.statuses == ["SUBMITTED", "IN_PROGRESS", "SUCCESS"]
        assert finished.finished_at_ms is not None
        assert finished.finished_at_ms - finished.submitted_at_ms >= 45_000


def test_a_task_gets_another_id() -> None:
    """Reads and callbacks use the new one; the old one is unknown."""
    with hostile() as upstream:
        client = Client(upstream)
        old = client.submit("imagine", prompt="a cat")["result"]
        upstream.rename(upstream.shelf.all()[0])
        [new] = listed(client)
        assert new != old
        assert client.batch(old, new) == [new]


def test_ids_come_again_after_a_restart() -> None:
    """The store was lost, and new work has the ids of old."""
    with hostile() as upstream:
        client = Client(upstream)
        old = [client.submit("imagine", prompt=f"cat {n}")["result"] for n in range(2)]
        upstream.restart(forgets=True, names_again=True)
        assert client.batch(*old) == []
        assert client.submit("imagine", prompt="a dog")["result"] == old[0]
        assert client.fetch(old[0])["prompt"] == "a dog"


def test_a_clock_that_is_wrong() -> None:
    """Ids and times are an hour ahead of everybody's."""
    with hostile(Manners(skew_s=3600)) as upstream:
        client = Client(upstream)
        task = client.fetch(client.submit("imagine", prompt="a cat")["result"])
        ahead_s = task["submitTime"] / 1000 - upstream.clock.now_s()
        assert 3500 < ahead_s <= 3600
        assert abs(int(task["id"][:13]) - task["submitTime"]) < 1000


def test_all_at_once(listener: Listener) -> None:
    """Manners combine: an answer lost, registered late, shown late, without marks, while a job runs elsewhere."""
    manners = Manners(
        registers_after_s=5,
        list_behind_s=20,
        state_on=frozenset(),
        hook_on=frozenset(),
        jobs=1,
        works_s=30,
        skew_s=-60,
    )
    with hostile(manners) as upstream:
        client = Client(upstream, listener.url)
        upstream.next_submit("silence")
        with pytest.raises(httpx.ReadTimeout):
            client.http.post(
                "/submit/imagine", json={"prompt": "a cat", "notifyHook": listener.url}, timeout=0.05
            )
        upstream.clock.advance(5)
        upstream.ledger.until(upstream.shelf.all)
        assert listed(client) == []
        listener.until(lambda: listener.heard)
        upstream.caller.wait_until_none_is_due()
        upstream.clock.advance(60)
        listener.until(lambda: "SUCCESS" in listener.statuses)
        [task] = client.http.get("/task/list").json()
        assert (task["status"], task["state"], "notifyHook" in task["properties"]) == ("SUCCESS", None, False)
