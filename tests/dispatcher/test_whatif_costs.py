"""What-if charges for what `hookchain costs` charges for."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from dispatcher.plugins.chain import UpstreamHandle
from dispatcher.policy.chain_budget import Budget
from dispatcher.rules.load import load_rules
from dispatcher.trying.report import Suggested
from dispatcher.trying.whatif import WhatIf
from hookchain.testing import Hookchain, fresh, grid, upscale
from midjourney.dialects import DIALECTS
from storage.engine import Connection
from storage.reading import facts
from storage.reading.recorded import recorded

HERE = Path(__file__).parent


def tried(kit: Hookchain, text: str, prices: dict[str, float]) -> list[Suggested]:
    rules = load_rules(tomllib.loads(text)["rules"], file="rules", text=text, directory=HERE)
    handles = {"main": UpstreamHandle(name="main", dialect=DIALECTS["mj-plus"])}
    what_if = WhatIf(rules, handles, {"main": prices}, Budget())

    def read(connection: Connection) -> list[Suggested]:
        happened = recorded(connection, what_if.facts, 0, with_moves=True)
        others, decided = facts.requested(connection, 0), facts.decided(connection, 0)
        return what_if.run(happened, others, decided, until_ms=kit._running.clock.now_ms).suggested

    async def run() -> list[Suggested]:
        return await kit._running.server.database.read(read)

    return kit._running._in_thread(run())


ZOOM = '[[rules]]\nname = "z"\non = "task.succeeded"\nif = "chain.depth == 0"\nzoom = 1.8\n'
PRESS = '[[rules]]\nname = "p"\non = "task.succeeded"\nif = "chain.depth == 0"\npress = "U1"\n'
CANCEL = '[[rules]]\nname = "c"\non = "task.started"\ncancel = true\n'


def with_modal(kit: Hookchain) -> None:
    (press,) = kit.succeed(upscale("u")).asks
    (answer,) = kit.window(press, id="w").asks
    kit.succeed(grid("zoomed"), of=answer)


def with_rejection(kit: Hookchain) -> None:
    (press,) = kit.succeed(grid("g")).asks
    kit.answer(press, {"code": 24, "description": "banned prompt: x"})


def with_picture(kit: Hookchain) -> None:
    (press,) = kit.succeed(grid("g")).asks
    kit.succeed(upscale("u"), of=press)


def with_start(kit: Hookchain) -> None:
    kit.callback({**grid("g"), "status": "IN_PROGRESS"})


@pytest.mark.parametrize(
    ("rule", "happens", "costs"),
    [
        (ZOOM, with_modal, [0.0, 0.1]),
        (PRESS, with_rejection, [0.0]),
        (PRESS, with_picture, [0.1]),
        (CANCEL, with_start, [0.0]),
    ],
)
def test_what_is_free_costs_nothing(
    rule: str, happens: Callable[[Hookchain], None], costs: list[float]
) -> None:
    """A press that opened a modal, a rejection, and what cancels a task."""
    with fresh(HERE) as kit:
        kit.load_rules(rule)
        happens(kit)
        assert [one.price for one in tried(kit, rule, {"default": 0.1})] == costs


def test_a_rejection_is_told_as_one() -> None:
    """In the past tense, and with what the upstream said."""
    with fresh(HERE) as kit:
        kit.load_rules(PRESS)
        with_rejection(kit)
        (one,) = tried(kit, PRESS, {})
    assert one.words.startswith("was rejected: ")
    assert "banned prompt: x" in one.words
    assert one.words.endswith(", nothing paid")


def test_a_cancel_may_have_a_price_of_its_own() -> None:
    """If the file names one."""
    with fresh(HERE) as kit:
        kit.load_rules(CANCEL)
        with_start(kit)
        (one,) = tried(kit, CANCEL, {"cancel": 0.3, "default": 0.1})
    assert one.price == 0.3
