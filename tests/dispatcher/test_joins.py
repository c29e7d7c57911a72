"""chain.rested and children.done: when they are given, how often, and what their receivers see."""

from __future__ import annotations

from typing import Any

import pytest

from hookchain import chain_rested, children_done
from storage.records import Event


class Heard:
    """Receivers of the joins, and what they saw."""

    def __init__(self) -> None:
        self.rested: list[list[tuple[str, str]]] = []
        self.done: list[tuple[str, list[tuple[str, str]]]] = []
        self.images: list[list[str]] = []

        async def on_rest(_action: str, *, chain: Any, **_: Any) -> None:
            self.rested.append([(one.label or one.kind, one.state) for one in chain.tasks])
            self.images.append([one.image_url for one in chain.tasks if one.kind == "upscale"])

        async def on_done(_action: str, *, task: Any, chain: Any, **_: Any) -> None:
            self.done.append((task.id, [(one.label, one.state) for one in chain.children]))

        chain_rested.connect(on_rest, weak=False)
        children_done.connect(on_done, weak=False)


@pytest.fixture
def heard(signals: Any) -> Heard:
    """Connected after the signals were cleared."""
    return Heard()


async def joins(bench: Any) -> list[Event]:
    return [one for one in await bench.events() if one.signal in ("chain.rested", "children.done")]


async def until_given(bench: Any, *signals: str) -> None:
    """Until these joins, in any order, were given and everybody has heard them."""

    async def given() -> bool:
        return sorted(str(one.signal) for one in await joins(bench)) == sorted(signals)

    await bench.until(given)
    await bench.until_quiet()


async def end(bench: Any, submission: Any, status: str = "SUCCESS", **fields: Any) -> None:
    """The callback that ends the task of a press."""
    (task_id,) = submission.task_ids
    await bench.callback(
        task_id,
        submission.id,
        action="UPSCALE",
        status=status,
        buttons=[],
        imageUrl=f"https://x/{submission.label}.png",
        **fields,
    )


async def test_four_ends_give_one_signal_with_the_four_pictures(bench: Any, heard: Heard) -> None:
    """A grid is pressed four times; when all four have ended, the chain is at rest and the grid's children are done."""
    bench.rules('[[rules]]\nname = "u"\non = "task.succeeded"\nif = "task.is_grid"\npress = "U*"\n')
    await bench.start()
    await bench.callback()
    presses = await bench.until_states(*["accepted"] * 4)
    for one in presses:
        await end(bench, one)
    await until_given(bench, "chain.rested", "children.done")
    ends = [(f"U{n}", "succeeded") for n in (1, 2, 3, 4)]
    assert heard.rested == [[("imagine", "succeeded"), *ends]]
    assert heard.done == [("grid", ends)]
    assert heard.images == [[f"https://x/U{n}.png" for n in (1, 2, 3, 4)]]
