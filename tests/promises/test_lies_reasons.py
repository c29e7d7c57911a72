"""Why it failed, by the words that proxies really use: what may be asked for again, and what stops an upstream. `tests/hostile` is
that upstream; it shares no code with the product or its sandbox, and its ledger is the judge.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.conftest import REPOSITORY
from tests.hostile import reasons
from tests.hostile.upstream import Hostile
from tests.support.witness import UPSCALE_ALL, UPSCALES, labels_of, presses_of, wait_for_an_honest_chain

REROLL = (REPOSITORY / "examples" / "reroll-on-failure.toml").read_text()
"""The shipped rule: it repeats a request twice in a chain, where that is harmless."""

TIMES = {"time-out": 3, "queue": 3}
"""How often an imagine is bought that always fails so; all other kinds once."""

NAMES = {"time-out": "timeout"}
PASSES = ("实例不可用",)
"""About an account, but an outage that ends by itself."""


def main(server: Any) -> Any:
    """How the upstream is doing."""
    [one] = server.get("/api/upstreams")["upstreams"]
    return one


def is_done(server: Any) -> bool:
    """Whether no submission waits or is being sent, and every task has ended."""
    found = server.get("/api/submissions?limit=500")["submissions"]
    tasks = server.get("/api/tasks?limit=500")["tasks"]
    return all(one["state"] == "accepted" for one in found) and all(one["finished_at"] for one in tasks)


@pytest.mark.parametrize("kind", [*reasons.BY_KIND])
def test_only_a_harmless_failure_is_repeated(
    start_hostile: Any, serve: Any, eventually: Any, kind: str
) -> None:
    """Each reason of a kind, with the shipped rule. An account-level one pauses the upstream, once, until a person resumes it."""
    upstream = start_hostile()
    server = serve(upstream, UPSCALE_ALL + REROLL)
    pauses = 0
    for number, reason in enumerate(reasons.BY_KIND[kind]):
        prompt = f"cat {number}"
        upstream.change(fails_with=reason)
        server.submit(kind="imagine", prompt=prompt)
        eventually(lambda prompt=prompt: len(bought(upstream, prompt)) >= TIMES.get(kind, 1))
        upstream.caller.wait_until_none_is_due()
        if kind in ("account", "money") and reason not in PASSES:
            pauses += 1
            eventually(lambda: main(server)["paused"])
            assert main(server)["pause_reason"] == f"{kind}: {reason}"
            assert server.http.post("/api/upstreams/main/resume").is_success
        eventually(lambda: is_done(server))
        upstream.change(fails_with="")
        wait_for_an_honest_chain(server, upstream, eventually)
        assert len(bought(upstream, prompt)) == TIMES.get(kind, 1), reason
        assert not main(server)["paused"]
    failed = server.get("/api/tasks?status=FAILURE&limit=500")["tasks"]
    assert {one["failure_kind"] for one in failed} == {NAMES.get(kind, kind)}
    assert server.output.count("upstream paused") == pauses


def bought(upstream: Hostile, prompt: str) -> list[Any]:
    """The imagines with this prompt."""
    return [one for one in upstream.ledger.paid("imagine") if one.body["prompt"] == prompt]


def test_the_whole_request_is_repeated_with_its_images(
    start_hostile: Any, serve: Any, eventually: Any
) -> None:
    """A time-out: the same words and the same picture, twice more."""
    upstream = start_hostile(fails_with=reasons.TIME_OUT[0])
    server = serve(upstream, REROLL)
    server.submit(kind="imagine", prompt="a cat", images=[PNG])
    eventually(lambda: len(upstream.ledger.paid("imagine")) == 3)
    assert {one.body["prompt"] for one in upstream.ledger.paid("imagine")} == {"a cat"}
    assert [one.body["base64Array"] for one in upstream.ledger.paid("imagine")] == [[PNG]] * 3


PNG = "data:image/png;base64,iVBORw0KGgogcmVzdA=="


@pytest.mark.parametrize("reason", [reasons.ACCOUNT[0], reasons.MONEY[0]])
def test_a_forged_failure_pauses_nothing(
    start_hostile: Any, serve: Any, eventually: Any, reason: str
) -> None:
    """About our own imagine, which runs: the upstream goes on, and it is upscaled when it is done."""
    upstream = start_hostile(holds=True)
    server = serve(upstream, UPSCALE_ALL + REROLL)
    server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: upstream.ledger.paid("imagine"))
    upstream.caller.wait_until_none_is_due()
    [task] = upstream.shelf.all()
    upstream.call_back(server.hook, task, status="FAILURE", failReason=reason)
    upstream.change(holds=False)
    wait_for_an_honest_chain(server, upstream, eventually)
    upstream.go_on(task)
    eventually(lambda: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert len(upstream.ledger.paid("imagine")) == 1
    assert "upstream paused" not in server.output
    assert not main(server)["paused"]


def test_somebody_elses_failure_pauses_nothing(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """Its account may be another behind the same address: it is true, and not about a submission of ours."""
    upstream = start_hostile()
    server = serve(upstream)
    task = upstream.running()
    upstream.fail(task, reasons.ACCOUNT[0])
    upstream.tell(task, server.hook)
    eventually(lambda: server.get(f"/api/tasks/main/{task.id}")["status"] == "FAILURE")
    wait_for_an_honest_chain(server, upstream, eventually)
    assert not main(server)["paused"]


def test_a_prompt_that_was_refused_is_not_sent_again(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """Code 24: it is moderation, and one request."""
    upstream = start_hostile()
    server = serve(upstream, UPSCALE_ALL + REROLL)
    upstream.next_submit("banned", of="imagine")
    made = server.submit(kind="imagine", prompt="a cat")
    eventually(lambda: server.get(f"/api/submissions/{made['id']}")["state"] == "rejected")
    wait_for_an_honest_chain(server, upstream, eventually)
    assert server.get(f"/api/submissions/{made['id']}")["failure_kind"] == "moderation"
    assert [one.path for one in upstream.ledger.submits].count("/mj/submit/imagine") == 1
