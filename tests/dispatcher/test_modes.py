"""The speed mode of a submission: who may ask for one, and where it goes."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.plugins.errors import RuleError
from midjourney.requests import Action

PRESS = """
[[rules]]
name = "press"
on = "task.succeeded"
if = "task.is_grid"
press = "U1"
mode = "relax"
"""


async def test_a_rule_chooses_the_mode(bench: Any) -> None:
    """147ai reads it in the body."""
    bench.options["dialect"] = "147ai"
    bench.rules(PRESS)
    await bench.start()
    await bench.callback()
    await bench.until_states("accepted")
    ((_, body),) = bench.upstream.received
    assert body["mode"] == "RELAX"


async def test_a_mode_that_the_upstream_lacks_is_never_sent(bench: Any) -> None:
    """The delivery becomes a dead letter that names the modes that there are; nothing is paid."""
    bench.options["dialect"] = "mj-plus"
    bench.rules(PRESS)
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    (delivery,) = await bench.deliveries()
    assert delivery.state == "dead"
    assert "dialect mj-plus has no mode 'relax'; it has: none" in delivery.error
    assert bench.upstream.received == []


async def test_the_mode_is_no_part_of_the_intent(bench: Any) -> None:
    """A button that was pressed in one mode is not pressed again because somebody wants it in another."""
    bench.options["dialect"] = "147ai"
    bench.rules(PRESS + PRESS.replace('"press"', '"again"').replace("relax", "fast"))
    await bench.start()
    await bench.callback()
    await bench.until_quiet()
    assert [delivery.state for delivery in await bench.deliveries()] == ["done", "done"]
    assert len(bench.upstream.received) == 1


async def test_a_person_presses_in_the_usual_mode(bench: Any) -> None:
    """Nothing is said about it then."""
    bench.options["dialect"] = "147ai"
    await bench.start()
    await bench.callback()
    await bench.ask(
        Action(task_id="grid", custom_id="MJ::JOB::upsample::1::0ddb91a0-af46-4ae9-8e8e-c271074eb6e6")
    )
    await bench.until_states("accepted")
    assert "mode" not in bench.upstream.received[0][1]


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (PRESS.replace("relax", "Relax mode"), "'Relax mode' is not a speed mode"),
        (PRESS.replace('press = "U1"', 'forward = "https://example.com"'), "the rule submits nothing"),
    ],
)
def test_wrong_modes(bench: Any, rule: str, message: str) -> None:
    """The message names the key."""
    with pytest.raises(RuleError, match=f"key 'mode': {message}"):
        bench.rules(rule)
