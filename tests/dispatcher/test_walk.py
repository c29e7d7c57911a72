"""A delivery can be followed by reading. `pytest -n0 -s tests/dispatcher/test_walk.py` prints its walk through our files."""

from __future__ import annotations

from typing import Any

from tests.support.walk import DELIVER, followed

PRESS = """
[[rules]]
name = "press"
on = "task.succeeded"
press = "U1"
"""


async def test_a_delivery_visits_its_loop_four_times_at_most(bench: Any) -> None:
    """From the callback of a grid to the press that a rule asks for, committed."""
    bench.rules(PRESS)
    with followed() as walk:
        await bench.start()
        await bench.callback()
        await bench.until_states("accepted")
        await bench.until_quiet()
    print(walk)
    assert ("storage/deliveries/endings.py", "end_all") in walk.functions
    assert walk.stays_in(DELIVER) <= 4
