"""Pictures whose links only somebody else's network can open. `tests/hostile` is the upstream; it shares no code with the product
or its sandbox, and its ledger is the judge.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.hostile.upstream import Hostile
from tests.support.witness import UPSCALE_ALL, UPSCALES, labels_of, presses_of, wait_for_an_honest_chain

PRIVATE = (
    "http://localhost:3000/mj/image/{job}",
    "http://192.168.1.7/mj/image/{job}.png",
    "http://minio:9000/{job}.png",
    "http://[::1]:3000/{job}.png",
)
DOES = {
    "imagine with an image": "imagine = { prompt = 'like it', images = ['{{ task.image_url }}'] }",
    "imagine with a link": "imagine = '{{ task.image_url }} like it'",
    "blend": "blend = ['{{ task.image_url }}', '{{ task.image_url }}']",
    "describe": "describe = '{{ task.image_url }}'",
}


def rules(does: str) -> str:
    """Upscales each grid, and buys something with the picture of it."""
    rule = "[[rules]]\nname = 'with-the-picture'\non = 'task.succeeded'\nif = 'task.is_grid and chain.depth == 0'\n"
    return f"{UPSCALE_ALL}\n{rule}{does}\n"


def bought(upstream: Hostile) -> list[Any]:
    """What was paid beside upscales."""
    return [one for one in upstream.ledger.paid() if not one.custom_id]


@pytest.mark.parametrize("dialect", ["mj-plus", "trueai"])
@pytest.mark.parametrize("does", DOES.values(), ids=DOES)
def test_nothing_is_bought_with_a_private_link(
    start_hostile: Any, serve: Any, eventually: Any, does: str, dialect: str
) -> None:
    """It is in no request, and the delivery says what to do about it. What needs no picture goes on."""
    upstream = start_hostile()
    server = serve(upstream, rules(does), dialect=dialect)
    for link in PRIVATE:
        upstream.change(image_url=link)
        task = upstream.finished_grid()
        upstream.tell(task, server.hook)
        eventually(lambda task=task: len(presses_of(upstream, task)) >= 4)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert bought(upstream) == []
    for link in PRIVATE:
        assert link.partition("{")[0] not in upstream.ledger.words()
    dead = server.get("/api/deliveries?state=dead")["deliveries"]
    assert len(dead) == len(PRIVATE) + 1
    assert all("private_hosts" in one["error"] for one in dead)


@pytest.mark.parametrize("is_named", [False, True], ids=["not named", "named"])
@pytest.mark.parametrize("dialect", ["mj-plus", "trueai"])
def test_a_picture_of_a_named_host_is_sent_as_data(
    start_hostile: Any, serve: Any, eventually: Any, dialect: str, is_named: bool
) -> None:
    """A store beside the upstream: it is asked only where the owner named it, and its link is sent to nobody."""
    store: Hostile = start_hostile()
    upstream = start_hostile(image_url=f"{store.url}/attachments/{{job}}.png")
    hosts = (store.url.removeprefix("http://"),) if is_named else ()
    server = serve(upstream, rules(DOES["imagine with an image"]), dialect=dialect, private_hosts=hosts)
    task = upstream.finished_grid()
    upstream.tell(task, server.hook)
    wait_for_an_honest_chain(server, upstream, eventually)
    assert labels_of(presses_of(upstream, task)) == UPSCALES
    assert store.url not in upstream.ledger.words()
    assert len(bought(upstream)) == (2 if is_named else 0)
    assert bool(store.ledger.requests) == is_named
    assert not any(request.has_key for request in store.ledger.requests)
    for one in bought(upstream):
        [sent] = one.body["base64Array"]
        assert sent.startswith("data:image/png;base64,")
