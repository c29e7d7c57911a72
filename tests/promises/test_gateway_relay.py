"""A relay with users of its own has the gateway as its channel: what it takes of them is what the upstream was paid for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.customer import CLIENTS
from tests.support.relay import PRICE, Relay
from tests.support.shop import Shop

pytestmark = pytest.mark.xdist_group("gateway relay")
SETTINGS = CLIENTS


@pytest.fixture
def relay(shop: Shop) -> Relay:
    return Relay(shop.ann)


def test_a_users_charge_comes_back_after_a_failure(shop: Shop, relay: Relay, eventually: Any) -> None:
    """One picture is made, one fails, and one is refused at once: only the first is charged, and the failure has its reason."""
    made = relay.submit("imagine", prompt="a relay's picture", botType="MID_JOURNEY", notifyHook="", state="")
    eventually(lambda: relay.has_settled())
    with shop.while_it(fails_with="blocked by a moderator"):
        failed = relay.submit("imagine", prompt="a relay's failure")
        assert relay.spent == 2 * PRICE
        eventually(lambda: relay.has_settled())
    refused = relay.submit("imagine", prompt="")
    assert (relay.succeeded, relay.given_back, refused) == ({made}, {failed: "blocked by a moderator"}, "")
    assert relay.spent == PRICE


def test_an_order_that_never_leaves_is_given_back(shop: Shop, relay: Relay, eventually: Any) -> None:
    """It is refused after the relay got code 1 for it, or cancelled before it left: the upstream was paid for nothing."""
    shop.server.http.post("/api/upstreams/main/pause").raise_for_status()
    try:
        waiting = relay.submit("imagine", prompt="a relay's second thoughts")
        assert relay.running == {waiting}
        assert not relay.has_settled()
        assert shop.ann.http.post(f"/task/{waiting}/cancel").json()["code"] == 1
        eventually(lambda: relay.has_settled())
    finally:
        shop.server.http.post("/api/upstreams/main/resume").raise_for_status()
    assert relay.spent == 0
    assert relay.given_back[waiting]
    assert shop.paid("a relay's second thoughts") == []


def test_thirty_tasks_are_asked_about_in_one_question(shop: Shop, relay: Relay, eventually: Any) -> None:
    """A grid, its four upscales, and 25 others: each is charged once, and each comes to its end."""
    grid = relay.submit("imagine", prompt="a relay's grid")
    eventually(lambda: relay.has_settled())
    ids = [relay.submit("change", taskId=grid, action="UPSCALE", index=index) for index in (1, 2, 3, 4)]
    with shop.while_it(holds=True):
        ids += [relay.submit("imagine", prompt=f"a relay's picture {number}") for number in range(25)]
        held = [task for task in shop.upstream.shelf.all() if task.prompt.startswith("a relay's picture ")]
        eventually(lambda: relay.runs(25))
        for task in held:
            shop.upstream.go_on(task)
    eventually(lambda: relay.has_settled())
    assert relay.succeeded == {grid, *ids}
    assert relay.spent == 30 * PRICE
    assert len(shop.paid("a relay's grid")) == 1
    assert sorted(shop.presses("a relay's grid")) == [f"upsample {index}" for index in (1, 2, 3, 4)]
