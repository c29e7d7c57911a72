"""What receivers act on while nothing may be loaded, and runs that wait for nothing."""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from dispatcher.plugins.chain import Chain
from dispatcher.plugins.context import Context
from dispatcher.plugins.receivers import Receiver
from dispatcher.rules.compile import CompiledRule
from dispatcher.rules.expressions import Names
from midjourney.image_data import Image, image_of_bytes
from midjourney.links import Near

T = TypeVar("T")

DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b550000000a49444154789c63f80f00010101001bb6ee56"
    "0000000049454e44ae426082"
)
"""A picture of a single pixel."""


class DryChain(Chain):
    """A chain that loads no images: each is a single pixel."""

    async def _loaded(self, source: str | Path, near: Near) -> Image:
        return image_of_bytes(DOT)

    async def picture_size(self, address: str) -> tuple[int, int]:
        """The size of a single pixel."""
        return (1, 1)


class DirectRuns:
    """Runs receivers where they are called, without a limit of time: rules that are tried load nothing."""

    async def run(self, receiver: Receiver, context: Context) -> None:
        """See `dispatcher.runs.call.Runs`."""
        await receiver.function(context.action, **context.arguments())


def without_effects(rule: CompiledRule) -> CompiledRule:
    """The rule, whose effects and messages do nothing."""

    async def nothing(_chain: Chain, _names: Names) -> str:
        return "not performed"

    return msgspec.structs.replace(rule, effects=dict.fromkeys(rule.effects, nothing))


def finished(running: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end; returns its value. It never waits, with a `DryChain` and a database in memory."""
    try:
        running.send(None)
    except StopIteration as end:
        value: T = end.value
        return value
    raise AssertionError("a rule waited for something while it was tried")
