"""Hooks that leaked, were rotated, or died with a database, and callbacks that are too large. `tests/hostile` is the upstream; it
shares no code with the product or its sandbox, and its ledger is the judge.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.hostile.shapes import Json, grid_buttons, new_id, new_job
from tests.hostile.tasks import Task
from tests.hostile.upstream import Hostile
from tests.support import command
from tests.support.witness import UPSCALES, labels_of, presses_of, wait_for_an_honest_chain

WORD = "magenta"
"""What the forger wants to have said; the upstream never says it."""

SECRET = "a test's secret"


# 9. A hook per submission, that opens only itself.


def imagines(upstream: Hostile, server: Any, eventually: Any, *prompts: str) -> list[tuple[Task, str]]:
    """Our own tasks, which run and are held, each with the hook that the upstream was given for it."""
    made = [server.submit(kind="imagine", prompt=prompt)["id"] for prompt in prompts]
    for one in made:
        eventually(lambda one=one: server.get(f"/api/submissions/{one}")["state"] == "accepted")
    upstream.caller.wait_until_none_is_due()
    by_prompt = {task.prompt: task for task in upstream.shelf.all()}
    return [(by_prompt[prompt], by_prompt[prompt].hook) for prompt in prompts]


def forged_success(upstream: Hostile, task: Task, **words: Any) -> Json:
    """The running task as if it were done, with buttons of a picture that there is not."""
    done = {"status": "SUCCESS", "progress": "100%", "prompt": WORD, "buttons": grid_buttons(new_job())}
    return upstream.forged(task, **(done | words))


FORGED: dict[str, Callable[[Hostile, Task], Json]] = {
    "a success": forged_success,
    "a failure": lambda upstream, task: upstream.forged(task, status="FAILURE", failReason=WORD),
    "a cancel": lambda upstream, task: upstream.forged(task, status="CANCEL", failReason=WORD),
}


@pytest.mark.parametrize("whose", ["its own", "another of ours", "a stranger's", "nobody's"])
@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_leaked_hook_harms_no_task(
    start_hostile: Any, serve: Any, eventually: Any, forge: Callable[[Hostile, Task], Json], whose: str
) -> None:
    """The hook of one submission, and what a forger says there of a task: each of ours is upscaled when it is done, once."""
    upstream = start_hostile(holds=True)
    server = serve(upstream)
    (leaked, hook), (other, _) = imagines(upstream, server, eventually, "a cat", "a dog")
    stranger = upstream.running("a bird")
    about = {"its own": leaked, "another of ours": other}.get(whose, stranger)
    body = forge(upstream, about) | ({"id": new_id()} if whose == "nobody's" else {})
    assert upstream.post(hook, body).status == 200
    upstream.change(holds=False)
    upstream.go_on()
    upstream.finish(stranger)
    upstream.tell(stranger, server.hook)
    for task in (leaked, other, stranger):
        eventually(lambda task=task: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    for task in (leaked, other, stranger):
        assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert len(upstream.ledger.paid("imagine")) == 2
    assert WORD not in upstream.ledger.words()


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_a_leaked_hook_moves_no_other_submissions_task(
    start_hostile: Any, serve: Any, eventually: Any, forge: Callable[[Hostile, Task], Json]
) -> None:
    """Not even until the upstream is asked: what it says of the other is kept, and gives no signal."""
    upstream = start_hostile(holds=True)
    server = serve(upstream)
    (_, hook), (other, _) = imagines(upstream, server, eventually, "a cat", "a dog")
    assert upstream.post(hook, forge(upstream, other)).status == 200
    events = server.get(f"/api/events?task_id={other.id}&limit=500")["events"]
    [forged] = [one for one in events if one["source"] == "callback" and one["status"] != "SUBMITTED"]
    assert (forged["stale"], forged["signal"]) == (True, None)
    upstream.change(holds=False)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert server.get(f"/api/tasks/main/{other.id}")["status"] == "SUBMITTED"
    assert presses_of(upstream, other) == []


def test_a_leaked_hook_opens_no_other_address(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """Neither the registered one, nor another submission's, nor one of a submission that there is not."""
    upstream = start_hostile(holds=True)
    server = serve(upstream)
    (one, leaked), (_, other) = imagines(upstream, server, eventually, "a cat", "a dog")
    opener, _, mark = leaked.rpartition("/")
    grid = upstream.finished_grid()
    for path in (opener, f"{opener}/{other.rpartition('/')[2]}", f"{opener}/666"):
        assert upstream.tell(grid, path).status == 404
    registered, _, token = server.hook.rpartition("/")
    assert mark == one.state
    assert upstream.tell(grid, f"{registered}/{mark}").status == 404  # the mark is not the secret in the path
    assert token not in leaked
    upstream.change(holds=False)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert presses_of(upstream, grid) == []


def test_a_hook_is_rotated_and_retired_while_a_server_runs(
    start_hostile: Any, serve: Any, eventually: Any, tmp_path: Path
) -> None:
    """Old and new are valid together; then only the new one is, and the hooks that submissions were sent with."""
    upstream = start_hostile(holds=True)
    server = serve(upstream)
    [(ours, _)] = imagines(upstream, server, eventually, "a cat")
    upstream.change(holds=False)

    def url(*options: str) -> str:
        done = command.run(tmp_path, "url", *options, HOOKCHAIN_SECRET=SECRET)
        assert done.returncode == 0, done.stderr
        base: str = server.hook.partition("/notify/")[0]
        return f"{base}/notify/{done.stdout.strip().partition('/notify/')[2]}"

    old, new = url(), url("--rotate")
    for hook in (old, new):
        grid = upstream.finished_grid()
        assert upstream.tell(grid, hook).status == 200
        eventually(lambda grid=grid: len(presses_of(upstream, grid)) == 4)
    assert url("--retire") == new
    eventually(lambda: upstream.post(old, {"id": "666", "status": "SUBMITTED"}).status == 404)
    late = upstream.finished_grid()
    assert upstream.tell(late, old).status == 404
    upstream.go_on(ours)
    upstream.caller.wait_until_none_is_due()
    assert {call.status for call in upstream.caller.calls if call.hook == ours.hook} == {200}
    eventually(lambda: len(presses_of(upstream, ours)) >= 4)
    witness = upstream.finished_grid()
    assert upstream.tell(witness, new).status == 200
    eventually(lambda: len(presses_of(upstream, witness)) == 4)
    assert labels_of(presses_of(upstream, ours)) == UPSCALES
    assert presses_of(upstream, late) == []
    assert upstream.ledger.asked(late.id) == []


# 11. Callbacks that are refused.


def refused(server: Any) -> dict[str, Any]:
    """What /api/upstreams says of refused callbacks: by reason."""
    [main] = server.get("/api/upstreams")["upstreams"]
    return {one["why"]: one for one in main["refused"]}


def test_a_hook_that_died_with_its_database_is_reported(
    start_hostile: Any, serve: Any, eventually: Any, tmp_path: Path
) -> None:
    """Five grids are told to it: nothing is bought, and log, API and command line say why. The new hook works."""
    upstream = start_hostile()
    server = serve(upstream, HOOKCHAIN_SECRET="")
    base, slash, dead = server.hook.rpartition("/")
    server.stop()
    for file in tmp_path.glob("hookchain.db*"):
        file.unlink()
    server = serve(upstream, HOOKCHAIN_SECRET="")
    base = server.hook.rpartition("/")[0]
    grids = [upstream.finished_grid() for _ in range(5)]
    assert [upstream.tell(grid, base + slash + dead).status for grid in grids] == [404] * 5
    told = eventually(lambda: refused(server).get("unknown_hook"))
    eventually(lambda: refused(server)["unknown_hook"]["count"] == 5)
    assert "hookchain url" in told["what_to_do"]
    port = server.url.rpartition(":")[2]
    shown = command.run(tmp_path, "upstreams", PORT=port).stdout
    assert "refused: 5 unknown_hook" in shown
    assert told["what_to_do"] in shown
    eventually(
        lambda: [line for line in server.lines if "callbacks refused" in line and "unknown_hook" in line]
    )
    assert dead not in server.output + shown
    wait_for_an_honest_chain(server, upstream, eventually)
    assert [presses_of(upstream, grid) for grid in grids] == [[]] * 5


@pytest.mark.parametrize("encoding", ["", "gzip"], ids=["plain", "compressed"])
@pytest.mark.parametrize("is_ours", [False, True], ids=["a stranger's", "ours"])
def test_the_task_of_a_callback_that_is_too_large_is_read(
    start_hostile: Any, serve: Any, eventually: Any, tmp_path: Path, encoding: str, is_ours: bool
) -> None:
    """Every callback is: 413, the upstream is asked, and the chain goes on. API and command line say so."""
    upstream = start_hostile(encoding=encoding)
    server = serve(upstream, quiet_s=600, HOOKCHAIN_BODY_LIMIT_BYTES="1000")
    if is_ours:
        server.submit(kind="imagine", prompt="a cat")
        eventually(lambda: upstream.ledger.paid("imagine"))
        upstream.caller.wait_until_none_is_due()
        task = upstream.shelf.all()[0]
    else:
        task = upstream.finished_grid()
        upstream.tell(task, server.hook)
    ends = [call for call in upstream.caller.calls if call.body["status"] == "SUCCESS"]
    assert [call.status for call in ends][:1] == [413]
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert upstream.ledger.asked(task.id)
    eventually(lambda: "too_large" in refused(server))
    assert "too_large" in command.run(tmp_path, "upstreams", PORT=server.url.rpartition(":")[2]).stdout
