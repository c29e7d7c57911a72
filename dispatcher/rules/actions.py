"""Turns a rule's keys into steps that stage submissions through the chain, as a plugin would."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from dispatcher.plugins.chain import Chain
from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.open_modal import OpenModal
from dispatcher.plugins.submit_options import SubmitOptions
from dispatcher.rules.expressions import Names, Template
from dispatcher.rules.language import NOW
from dispatcher.rules.masks import Region
from dispatcher.rules.moments import Moment
from midjourney.addresses import is_link
from midjourney.files import inside
from storage import clock
from storage.records import Submission

if TYPE_CHECKING:
    from dispatcher.rules.model import BlendWith, ImagineWith


class File(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a rule names literally. Its real path, links followed, must be in one of `folders`."""

    path: Path
    folders: tuple[Path, ...]


Picture = Callable[[Names], Awaitable[str | File]]
"""Finds the image for an event: a URL, a data URL or a file."""

Step = Callable[[Chain, Names, SubmitOptions], Awaitable[None]]
"""Stages the submissions of one key."""


def pressing(buttons: list[str]) -> Step:
    """Press buttons."""

    async def press(chain: Chain, _names: Names, options: SubmitOptions) -> None:
        chain.press(*buttons, **_without_upstream(options))

    return press


def answering(prompt: Template, mask: Region | str) -> Step:
    """Answer the event's modal."""

    async def answer(chain: Chain, names: Names, options: SubmitOptions) -> None:
        modal: OpenModal = names["modal"]
        image = await _drawn(chain, modal, mask) if isinstance(mask, Region) else mask
        text = (await prompt(names)).strip()
        if modal.prompt and not text:
            chain.note("the text for the modal is empty: the modal's own prompt is sent")
        chain.modal(prompt=text, mask=image, **_without_upstream(options))

    return answer


async def _drawn(chain: Chain, modal: OpenModal, region: Region) -> str:
    """Draw a region at the size of the modal's picture: the size in its payload, else that of the picture itself."""
    if modal.image_width and modal.image_height:
        return region.drawn(modal.image_width, modal.image_height)
    return region.drawn(*await chain.picture_size(modal.image_url))


def imagining(table: ImagineWith, prompt: Template, images: list[Picture]) -> Step:
    """Submit a new prompt."""

    async def imagine(chain: Chain, names: Names, options: SubmitOptions) -> None:
        loaded = [await _image(chain, await image(names), options) for image in images]
        chain.imagine(await prompt(names), images=loaded, bot_type=table.bot_type, **options)

    return imagine


def blending(table: BlendWith, images: list[Picture]) -> Step:
    """Blend images."""

    async def blend(chain: Chain, names: Names, options: SubmitOptions) -> None:
        loaded = [await _image(chain, await image(names), options) for image in images]
        chain.blend(*loaded, dimensions=table.dimensions, **options)

    return blend


def describing(image: Picture) -> Step:
    """Describe an image."""

    async def describe(chain: Chain, names: Names, options: SubmitOptions) -> None:
        chain.describe(await _image(chain, await image(names), options), **options)

    return describe


def shortening(prompt: Template) -> Step:
    """Shorten a prompt."""

    async def shorten(chain: Chain, names: Names, options: SubmitOptions) -> None:
        chain.shorten(await prompt(names), **options)

    return shorten


async def repeat(chain: Chain, names: Names, options: SubmitOptions) -> None:
    """Repeat the event's submission, or the one that made its task."""
    submission: Submission = names["submission"]
    if submission is NO_SUBMISSION:
        chain.fired = bool(chain.staged)
        chain.note(
            "cannot repeat it: hookchain did not submit this task, so its request and images are unknown"
        )
        return
    chain.repeat(submission, **options)


async def cancel(chain: Chain, _names: Names, options: SubmitOptions) -> None:
    """End the event's task."""
    options = _without_upstream(options)
    options.pop("state", None)  # no task comes of it, so these say nothing
    options.pop("mode", None)
    chain.cancel(**options)


def _without_upstream(options: SubmitOptions) -> SubmitOptions:
    """Drop the rule's upstream: a submission about a task always goes to that task's upstream."""
    options = options.copy()
    options.pop("upstream", None)
    return options


async def _image(chain: Chain, source: str | File, options: SubmitOptions) -> str:
    """Load a rule's image; every rule loads its images here. A filled-in value may come from a stranger, so it is never a file."""
    if isinstance(source, File):
        return await chain.image(inside(source.path, source.folders), upstream=options.get("upstream", ""))
    source = source.strip()
    if not is_link(source) and not source.startswith("data:"):
        raise GiveUp(
            f"{source[:80]!r} is neither an http(s) URL nor a data: URL, and only these may be filled in for an image; "
            "a file must be named in the rule itself, without {{ }}"
        )
    return await chain.image(source, upstream=options.get("upstream", ""))


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
"""The value of `submission` in conditions of rules if hookchain did not submit the task: every field is empty."""


def names_of(arguments: dict[str, object]) -> dict[str, object]:
    """The names that expressions use, from the arguments of a signal."""
    chain = arguments["chain"]
    of_chain = (
        {NOW: Moment(now_ms=clock.now_ms(), zone=chain.zone), "root": chain.root if chain.has_root else None}
        if isinstance(chain, Chain)
        else {}
    )
    return arguments | {"submission": arguments["submission"] or NO_SUBMISSION} | of_chain
