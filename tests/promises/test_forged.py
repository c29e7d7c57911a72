"""People who know a hook and forge callbacks: none of their words is acted on, or carried out. `tests/hostile` is
the upstream; it shares no code with the product or its sandbox, and its ledger is the judge. "Nothing happened" is looked at
once an honest chain that came later has all its presses, and no event, delivery or submission waits any more.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.hostile.upstream import Hostile
from tests.support.witness import UPSCALE_ALL, UPSCALES, labels_of, presses_of, wait_for_an_honest_chain

DESCRIBE_THEN_IMAGINE = """
[[rules]]
name = "describe-then-imagine"
on = "task.succeeded"
if = "task.action == 'DESCRIBE'"
imagine = "{{ (task.prompt.splitlines() | first)[3:] | trim }}"
"""
VARY_FOR_A_STATE = """
[[rules]]
name = "vary-for-a-state"
on = "task.succeeded"
if = "task.state == 'magenta'"
press = "V1"
"""
IMAGINE_LIKE_IT = """
[[rules]]
name = "imagine-like-it"
on = "task.succeeded"
if = "task.is_grid and chain.depth == 0"
imagine = { prompt = "like it", images = ["{{ task.image_url }}"] }
"""
FORWARD = """
[[rules]]
name = "forward"
on = "task.succeeded"
forward = {{ url = "{sink}" }}
"""
CUSTOM_ZOOM = """
[[rules]]
name = "zoom"
on = "task.succeeded"
if = "task.action == 'UPSCALE' and chain.depth == 0"
press = "custom_zoom"

[[rules]]
name = "answer"
on = "submission.needs_modal"
modal = "{{ modal.prompt }} --zoom 1.8"
"""

WORD = "magenta"
"""What the forger wants to have said; the upstream never says it."""

FORGED = {
    "prompt": {"action": "DESCRIBE", "prompt": f"1. {WORD}"},
    "state": {"state": WORD},
    "final prompt": {"action": "DESCRIBE", "properties": {"finalPrompt": f"1. {WORD}"}},
    "image": {"imageUrl": f"{{url}}/attachments/{WORD}.png"},
}
"""What a forger changes in the payload of a real task, whose status stays true."""


def at(upstream: Hostile, words: dict[str, Any]) -> dict[str, Any]:
    """The words, with the upstream's address in links: from there, pictures may be loaded."""
    return {
        name: word.format(url=upstream.url) if name == "imageUrl" else word for name, word in words.items()
    }


@pytest.mark.parametrize("words", FORGED.values(), ids=FORGED)
def test_nothing_is_bought_with_a_forgers_words(
    start_hostile: Any, serve: Any, eventually: Any, words: dict[str, Any]
) -> None:
    """They are in no request, and make no rule fire; the task is upscaled as the grid that it is."""
    upstream = start_hostile()
    server = serve(upstream, UPSCALE_ALL + DESCRIBE_THEN_IMAGINE + VARY_FOR_A_STATE + IMAGINE_LIKE_IT)
    task = upstream.finished_grid("a cat")
    upstream.call_back(server.hook, task, **at(upstream, words))
    wait_for_an_honest_chain(server, upstream, eventually)
    assert WORD not in upstream.ledger.words()
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert {one.body["prompt"] for one in upstream.ledger.paid("imagine")} == {"like it"}


@pytest.mark.parametrize("words", FORGED.values(), ids=FORGED)
def test_nothing_carries_a_forgers_words_out(
    start_hostile: Any, serve: Any, eventually: Any, words: dict[str, Any]
) -> None:
    """What is forwarded, with the owner's signature, is the upstream's word."""
    upstream = start_hostile()
    server = serve(upstream, UPSCALE_ALL + FORWARD.format(sink=upstream.sink))
    task = upstream.finished_grid("a cat")
    upstream.call_back(server.hook, task, **at(upstream, words))
    wait_for_an_honest_chain(server, upstream, eventually)
    assert upstream.ledger.forwarded()
    assert WORD not in upstream.ledger.words()


@pytest.mark.parametrize("is_real", [False, True], ids=["an invented task", "a task that runs"])
def test_a_forged_success_is_not_forwarded(
    start_hostile: Any, serve: Any, eventually: Any, is_real: bool
) -> None:
    """The upstream does not know of any such end: nothing is sent out about it, and nothing is bought."""
    upstream = start_hostile()
    server = serve(upstream, UPSCALE_ALL + FORWARD.format(sink=upstream.sink))
    done, running = upstream.finished_grid("a dog"), upstream.running("a cat")
    claimed = {"id": running.id if is_real else "666", "prompt": WORD}
    upstream.post(server.hook, upstream.forged(done, **claimed))
    wait_for_an_honest_chain(server, upstream, eventually)
    assert upstream.ledger.forwarded()
    assert WORD not in upstream.ledger.words()
    assert presses_of(upstream, done) == []


def test_a_window_is_not_answered_in_a_forgers_words(start_hostile: Any, serve: Any, eventually: Any) -> None:
    """Custom Zoom asks for words, and the owner's rule takes those of the picture: the upstream's, not the callback's."""
    upstream = start_hostile(windows_say_prompt=False)
    server = serve(upstream, UPSCALE_ALL + CUSTOM_ZOOM)
    task = upstream.running("a cat", action="UPSCALE")
    upstream.finish(task)
    upstream.call_back(server.hook, task, prompt=WORD, promptEn=WORD, properties={"finalPrompt": WORD})
    wait_for_an_honest_chain(server, upstream, eventually)
    assert WORD not in upstream.ledger.words()
    assert {one.body["prompt"] for one in upstream.ledger.paid("modal")} <= {"a cat --v 6.1 --zoom 1.8"}


@pytest.mark.parametrize("is_real", [False, True], ids=["an invented task", "somebody else's task"])
def test_a_callback_adopts_no_submission_unproven(
    start_hostile: Any, serve: Any, eventually: Any, is_real: bool
) -> None:
    """It waits after a 429, and a callback on its own path claims that it was taken. It is sent all the same."""
    upstream = start_hostile()
    server = serve(upstream)
    upstream.next_submit("429", of="imagine", times=1000)
    made = server.submit(kind="imagine", prompt="a cat")
    [refused] = eventually(lambda: upstream.ledger.submits[:1])
    other = upstream.finished_grid("a dog")
    body = upstream.forged(other, state=refused.body["state"])
    upstream.post(refused.body["notifyHook"], body if is_real else body | {"id": "666"})
    wait_for_an_honest_chain(server, upstream, eventually, but_for=made["id"])
    assert server.get(f"/api/submissions/{made['id']}")["state"] in ("waiting", "sending")
    upstream.no_more_troubles()
    eventually(lambda: upstream.ledger.paid("imagine"))
