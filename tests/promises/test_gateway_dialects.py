"""Every dialect behind the gateway gives its clients the same shapes, and rough manners of the upstream change nothing: what the
client ordered is paid once, and its hook hears each thing once."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.customer import CLIENTS, ENDED, Customer, check_order

UPSTREAM = """
[upstreams.main]
url = "{url}"
dialect = "{dialect}"
look_after_s = 0.3
quiet_s = 0.7
settle_after_s = 0.5
timeout_s = 2
"""
KEYS = {
    "id", "action", "status", "prompt", "promptEn", "description", "state", "submitTime", "startTime", "finishTime", "progress",
    "imageUrl", "failReason", "buttons", "properties",
}  # fmt: skip
DIALECTS = ["mj-plus", "novicezk", "mj-proxy-2", "trueai", "new-api", "147ai", "v1-relay", "wenwen"]


def check_shape(task: Any, ticket: str) -> None:
    """The types on which some client or other depends."""
    assert set(task) >= KEYS
    assert (task["id"], task["state"]) == (ticket, "mine")
    assert task["status"] in ("NOT_START", "SUBMITTED", "IN_PROGRESS", "SUCCESS", "FAILURE")
    assert task["progress"].endswith("%")
    assert isinstance(task["properties"], dict)
    assert all(isinstance(one["customId"], str) for one in task["buttons"])
    times = [task[name] for name in ("submitTime", "startTime", "finishTime")]
    assert all(isinstance(time, int | None) for time in times), times


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_client_sees_the_same_whatever_is_behind(
    start_sandbox: Any, start_server: Any, customer: Any, mailbox: Any, eventually: Any, dialect: str
) -> None:
    """An imagine, and U1 of it as `change`, as `simple-change` and, where the task shows buttons, as `action`: one charge each."""
    sandbox = start_sandbox("--speed", "30", "--seed", "3", "--dialect", dialect)
    ann: Customer = customer(start_server(toml=UPSTREAM.format(url=sandbox.url, dialect=dialect) + CLIENTS))
    box = mailbox()
    asked = {"state": "mine", "notifyHook": box.url}
    told = ann.order("imagine", prompt="a cat", **asked)
    assert (told["code"], told["description"]) == (1, "Submit success")
    assert isinstance(told["result"], str)
    assert isinstance(told["properties"], dict)
    grid = told["result"]
    check_shape(ann.fetch(grid), grid)
    eventually(lambda: ann.has_ended(grid))
    shown = ann.fetch(grid)
    assert (shown["status"], shown["progress"], shown["action"]) == ("SUCCESS", "100%", "IMAGINE")
    presses = [
        ann.order("change", taskId=grid, action="UPSCALE", index=1, **asked),
        ann.order("simple-change", content=f"{grid} U1", **asked),
    ]
    if shown["buttons"]:
        presses.append(ann.press(grid, "U1", **asked))
    for press in presses:
        assert press["code"] == 1, press
        eventually(lambda press=press: ann.has_ended(press["result"]))
        assert ann.fetch(press["result"])["status"] == "SUCCESS"
        check_shape(ann.fetch(press["result"]), press["result"])
    for ticket in (grid, presses[0]["result"]):
        messages = box.until_it_ends(ticket)
        check_order(messages)
        for message in messages:
            check_shape(message.task, ticket)
    billed = sandbox.ledger()["billed"]
    assert sum(billed.values()) == 2, billed


@pytest.mark.parametrize(
    "faults",
    [
        "duplicate,reorder,late-progress",
        "drop=0.6,twice,false-failure=0.5",
        pytest.param("rough", id="rough"),
    ],
)
def test_faults_of_the_upstream_do_not_reach_the_client(
    start_sandbox: Any, start_server: Any, customer: Any, mailbox: Any, eventually: Any, faults: str
) -> None:
    """Four pictures and an upscale of each. Its hook is down for the first two messages of each task."""
    sandbox = start_sandbox("--speed", "20", "--seed", "5", "--faults", faults)
    server = start_server(toml=UPSTREAM.format(url=sandbox.url, dialect="mj-plus") + CLIENTS)
    ann: Customer = customer(server)
    box = mailbox()
    down: dict[str, int] = {}

    def answer(message: Any) -> int:
        down[message.task["id"]] = down.get(message.task["id"], 0) + 1
        return 503 if down[message.task["id"]] <= 2 else 200

    box.answers = answer
    grids = [ann.imagine(f"cat {number}", notifyHook=box.url) for number in range(4)]
    for grid in grids:
        check_order(box.until_it_ends(grid))
        assert ann.fetch(grid)["status"] == "SUCCESS"
    ups = [ann.ticket("change", taskId=grid, action="UPSCALE", index=2, notifyHook=box.url) for grid in grids]
    for ticket in ups:
        check_order(box.until_it_ends(ticket))
    assert all(ann.fetch(one)["status"] in ENDED for one in (*grids, *ups))
    billed = sandbox.ledger()["billed"]
    assert (billed["imagine"], sum(billed.values())) == (4, 8), billed
