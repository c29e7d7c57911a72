"""How tests see that nothing happened: something else has, and nothing waits any more."""

from __future__ import annotations

import re
from typing import Any

from tests.hostile.ledger import Submit
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile

UPSCALE_ALL = """
[[rules]]
name = "upscale-all"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
press = "U*"
"""


def is_quiet(server: Any, *, but_for: str = "") -> bool:
    """No event waits for its receivers, no delivery for its turn, no submission for its answer, one of them apart."""
    metrics = server.http.get("/metrics").text
    [events] = re.findall(r"^hookchain_events_waiting (\d+)\.0$", metrics, re.MULTILINE)
    return events == "0" and not any(
        one["id"] != but_for
        for kind, state in (
            ("deliveries", "waiting"),
            ("deliveries", "running"),
            ("submissions", "waiting"),
            ("submissions", "sending"),
        )
        for one in server.get(f"/api/{kind}?state={state}")[kind]
    )


def presses_of(upstream: Hostile, task: Task) -> list[Submit]:
    """What was paid for buttons of one picture."""
    return [one for one in upstream.ledger.paid() if one.job == task.job]


def labels_of(presses: list[Submit]) -> list[str]:
    """`upsample 1` for each press of a U1, sorted."""
    return sorted(" ".join(one.custom_id.split("::")[2:4]) for one in presses)


UPSCALES = [f"upsample {n}" for n in (1, 2, 3, 4)]


def wait_for_an_honest_chain(server: Any, upstream: Hostile, eventually: Any, *, but_for: str = "") -> None:
    """A grid that nobody lies about is told and upscaled, and nothing of before waits any more, one submission apart."""
    witness = upstream.finished_grid("an honest witness")
    upstream.tell(witness, server.hook)
    eventually(lambda: len(presses_of(upstream, witness)) == 4)
    upstream.caller.wait_until_none_is_due()
    eventually(lambda: is_quiet(server, but_for=but_for))


def succeeded(server: Any, task: Task) -> list[Any]:
    """The events that gave `task.succeeded` for one task."""
    events = server.get(f"/api/events?task_id={task.id}&limit=500")["events"]
    return [event for event in events if event["signal"] == "task.succeeded"]
