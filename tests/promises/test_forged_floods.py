"""A valid hook in a stranger's hands: many forged callbacks of each kind buy nothing, carry nothing out, and end no chain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.hostile.shapes import Json, grid_buttons, new_id, new_job
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile
from tests.support.witness import UPSCALE_ALL, UPSCALES, labels_of, presses_of, wait_for_an_honest_chain

WORD = "magenta"
"""What the forger wants to have said; the upstream never says it."""

FORWARD = """
[[rules]]
name = "forward-{end}"
on = "task.{end}"
forward = {{ url = "{sink}" }}
"""
RULES = (
    UPSCALE_ALL
    + """
[[rules]]
name = "describe-then-imagine"
on = "task.succeeded"
if = "task.action == 'DESCRIBE'"
imagine = "{{ task.prompt }}"

[[rules]]
name = "try-again"
on = "task.failed"
if = "task.action == 'IMAGINE'"
imagine = "{{ task.prompt }} once more"

[[rules]]
name = "answer"
on = "submission.needs_modal"
modal = "{{ modal.prompt }}"
"""
)


def _grid(upstream: Hostile, task: Task, **words: Any) -> Json:
    """The running task as if it were done, with the buttons of a picture that there is not."""
    done = {"status": "SUCCESS", "progress": "100%", "prompt": WORD, "buttons": grid_buttons(new_job())}
    return upstream.forged(task, **(done | words))


KINDS: dict[str, Callable[[Hostile, Task], Json]] = {
    "invented tasks": lambda upstream, task: _grid(upstream, task, id=new_id()),
    "a success": _grid,
    "a failure": lambda upstream, task: upstream.forged(task, status="FAILURE", failReason=WORD, prompt=WORD),
    "a cancel": lambda upstream, task: upstream.forged(task, status="CANCEL", prompt=WORD),
    "a describe": lambda upstream, task: _grid(upstream, task, action="DESCRIBE"),
    "a window": lambda upstream, task: upstream.forged(
        task, status="MODAL", prompt=WORD, properties={"finalPrompt": WORD}
    ),
}


@pytest.mark.parametrize(
    "count", [20, pytest.param(1000, marks=pytest.mark.soak)], ids=["twenty", "a thousand"]
)
@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_flood_of_forged_callbacks(
    start_hostile: Any,
    serve: Any,
    eventually: Any,
    kind: Callable[[Hostile, Task], Json],
    count: int,
) -> None:
    """About our own imagine, which runs: it is upscaled when it is done, once, and nothing else is bought or sent out."""
    upstream = start_hostile(holds=True)
    ends = [FORWARD.format(end=end, sink=upstream.sink) for end in ("succeeded", "failed", "cancelled")]
    server = serve(upstream, RULES + "".join(ends))
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: upstream.ledger.paid("imagine"))
    upstream.caller.wait_until_none_is_due()
    task = upstream.shelf.all()[0]
    for _ in range(count):
        upstream.post(server.hook, kind(upstream, task))
    upstream.change(holds=False)
    upstream.go_on(task)
    upstream.caller.wait_until_none_is_due()
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert WORD not in upstream.ledger.words()
    assert len(upstream.ledger.paid("imagine")) == 1
    assert [one for one in upstream.ledger.submits if not one.is_paid] == []
