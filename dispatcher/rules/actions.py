"""What a rule's keys do, ready to run: each becomes a step that stages through the chain, as a plugin would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import msgspec

from dispatcher.chain import Chain, Window
from dispatcher.how import How
from dispatcher.rules.expressions import Names, Template
from dispatcher.rules.masks import Region, size_of
from storage.records import Submission

if TYPE_CHECKING:
    from dispatcher.rules.model import BlendWith, ImagineWith

Step = Callable[[Chain, Names, How], Awaitable[None]]
"""Stages what one key asks for."""


def pressing(wanted: list[str]) -> Step:
    """Press buttons."""

    async def press(chain: Chain, _names: Names, how: How) -> None:
        chain.press(*wanted, **_here(how))

    return press


def answering(prompt: Template, mask: Region | str) -> Step:
    """Answer the window that the event is about."""

    async def answer(chain: Chain, names: Names, how: How) -> None:
        window: Window = names["modal"]
        drawn = await _drawn(chain, window, mask) if isinstance(mask, Region) else mask
        written = prompt(names).strip()
        if window.prompt and not written:
            chain.note("the text for the window is empty: its own is sent")
        chain.modal(prompt=written, mask=drawn, **_here(how))

    return answer


async def _drawn(chain: Chain, window: Window, region: Region) -> str:
    """A region at the size that the picture behind a window has: as its payload says, else as it really is."""
    if window.image_width and window.image_height:
        return region.drawn(window.image_width, window.image_height)
    return region.drawn(*size_of(await chain.picture(window.image_url)))


def imagining(asked: ImagineWith, prompt: Template, images: list[Template]) -> Step:
    """Submit a new prompt."""

    async def imagine(chain: Chain, names: Names, how: How) -> None:
        loaded = [await _image(chain, one(names), how) for one in images]
        chain.imagine(prompt(names), images=loaded, bot_type=asked.bot_type, **how)

    return imagine


def blending(asked: BlendWith, images: list[Template]) -> Step:
    """Blend images."""

    async def blend(chain: Chain, names: Names, how: How) -> None:
        loaded = [await _image(chain, one(names), how) for one in images]
        chain.blend(*loaded, dimensions=asked.dimensions, **how)

    return blend


def describing(image: Template) -> Step:
    """Describe an image."""

    async def describe(chain: Chain, names: Names, how: How) -> None:
        chain.describe(await _image(chain, image(names), how), **how)

    return describe


def shortening(prompt: Template) -> Step:
    """Shorten a prompt."""

    async def shorten(chain: Chain, names: Names, how: How) -> None:
        chain.shorten(prompt(names), **how)

    return shorten


async def repeat(chain: Chain, names: Names, how: How) -> None:
    """Submit what the event is about once more."""
    submission: Submission = names["submission"]
    chain.repeat(submission, **how)


async def cancel(chain: Chain, _names: Names, _how: How) -> None:
    """End the event's task."""
    chain.cancel()


def _here(how: How) -> How:
    """Without another upstream: what is about a task goes to the task's own."""
    here = how.copy()
    here.pop("upstream", None)
    return here


async def _image(chain: Chain, source: str, how: How) -> str:
    return await chain.image(source, upstream=how.get("upstream", ""))


NO_SUBMISSION = msgspec.convert(
    {
        name: 0
        if name in ("depth", "priority", "attempts", "forgiven", "repeats") or name.endswith("_ms")
        else ""
        for name in Submission.__struct_fields__
    }
    | {"state": "accepted", "request": b"", "task_ids": ()},
    Submission,
)
"""What `submission` is in the conditions of rules for a task of somebody else's: every field empty."""


def names_of(arguments: dict[str, Any]) -> dict[str, Any]:
    """The names that expressions see, from the arguments of a signal."""
    return arguments | {"submission": arguments["submission"] or NO_SUBMISSION}
