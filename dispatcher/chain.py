"""The handle a receiver gets. Its methods stage submissions and do no I/O: what was staged is committed together with
"this delivery is done", or not at all, so a receiver that fails half-way has asked for nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, Literal, Unpack

import msgspec

from dispatcher.errors import GiveUp
from dispatcher.how import How, mistake_in
from dispatcher.intent import key_of
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
from midjourney.image_data import Image
from midjourney.loading import fetch_image, is_at, load_image
from midjourney.presses import lane_of, presses
from midjourney.requests import (
    Blend,
    BotType,
    Cancel,
    Describe,
    Imagine,
    Modal,
    Request,
    Shorten,
    decode_request,
    encode_request,
    kind_of,
    parent_of,
)
from midjourney.types import Task
from midjourney.wire import check
from storage.records import Staged, Submission


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A modal that waits for an answer. `prompt` is what it shows: Midjourney's text, else that of the parent.

    `kind` is what was pressed ("custom_zoom", "vary_region" …), `needs_mask` whether an answer without one is refused.
    `image_url`, `image_width` and `image_height` (pixels, 0 where not told) are those of the picture behind it.
    """

    task_id: str
    prompt: str
    label: str = ""
    kind: str = ""
    custom_id: str = ""
    image_url: str = ""
    image_width: int = 0
    image_height: int = 0

    @property
    def needs_mask(self) -> bool:
        """True for Vary Region."""
        return self.kind == "vary_region"


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """An upstream as a chain sees it: its name, how it is spoken to, its address, and a way to ask for a task's image."""

    name: str
    dialect: Dialect
    url: str = ""
    refresh: Callable[[str], Awaitable[str]] | None = None

    def is_own(self, address: str) -> bool:
        """Whether an address is at the upstream itself: we talk to it anyway, wherever it stands."""
        return is_at(self.url, address)


class Requested(list[str]):
    """Labels of what was staged. It may be awaited, and need not be."""

    def __await__(self) -> Generator[Any, None, Requested]:
        """Itself, at once."""

        async def done() -> Requested:
            return self

        return done().__await__()


class Chain:
    """The chain that the event's task belongs to, and the way to make it grow.

    `depth` is that of the task: 0 for a root, 1 for what was pressed on it. `submissions` counts what the chain has
    asked for so far. Every method takes the words of `How`, such as `after=60` or `priority=1`.
    """

    def __init__(
        self,
        *,
        id: str,
        depth: int,
        submissions: int,
        task: Task,
        modal: Window | None,
        asked_by: str,
        place: Place,
        places: Mapping[str, Place],
        generation: int = 0,
    ) -> None:
        self.id = id
        self.upstream = place.name
        self.depth = depth
        self.submissions = submissions
        self.fired = False
        self._task = task
        self._modal = modal
        self._asked_by = asked_by
        self._place = place
        self._places = places
        self._generation = generation
        self._staged: list[Staged] = []
        self._notes: list[str] = []

    def press(self, *wanted: str, **how: Unpack[How]) -> Requested:
        """Press buttons of the event's task: labels ("V2"), globs ("U*"), kinds ("custom_zoom") or customIds.

        Each button is pressed once, whatever asks and however often. What matches no button presses nothing, and is
        noted in the delivery's decision.
        """
        pressed = Requested()
        for one in wanted:
            found = presses(self._task, one, self._place.dialect)
            if not found:
                offered = ", ".join(button.name for button in self._task.buttons) or "none"
                self.note(f"no button matches {one!r} (there are: {offered})")
            for press in found:
                self._stage(press.request, press.label, self.depth + 1, how)
                pressed.append(press.label)
        return pressed

    def vary(self, kind: Literal["subtle", "strong", "region"], **how: Unpack[How]) -> Requested:
        """Press Vary (Subtle), Vary (Strong) or Vary (Region); the last opens a window that wants a mask."""
        return self.press(f"vary_{kind}", **how)

    def zoom(self, factor: Literal["1.5x", "2x", "custom"], **how: Unpack[How]) -> Requested:
        """Press a Zoom Out; "custom" opens a window."""
        return self.press("custom_zoom" if factor == "custom" else f"zoom_out_{factor}", **how)

    def pan(self, to: Literal["left", "right", "up", "down"], **how: Unpack[How]) -> Requested:
        """Press an arrow."""
        return self.press(f"pan_{to}", **how)

    def animate(self, motion: Literal["low", "high"], **how: Unpack[How]) -> Requested:
        """Press Animate (Low motion) or Animate (High motion)."""
        return self.press(f"animate_{motion}", **how)

    def modal(self, *, prompt: str = "", mask: str = "", **how: Unpack[How]) -> Requested:
        """Answer the window that this event is about. `mask`: a PNG as base64 or data URL, white where it may change.

        Raises `ValueError` when the event is about no window. A window is answered once, whoever asks.
        """
        if self._modal is None:
            raise ValueError("chain.modal answers a window: connect to submission_needs_modal")
        request = Modal(task_id=self._modal.task_id, prompt=prompt or self._modal.prompt, mask=mask)
        self._stage(request, "modal", self.depth, how)
        return Requested(["modal"])

    def imagine(
        self,
        prompt: str,
        *,
        images: Sequence[str] = (),
        bot_type: BotType = "",
        extra: Mapping[str, Any] | None = None,
        **how: Unpack[How],
    ) -> Requested:
        """Submit a new prompt as part of this chain. `extra` fields go into the request as they are."""
        request = Imagine(prompt=prompt, images=tuple(images), bot_type=bot_type, extra=dict(extra or {}))
        return self.submit(request, **how)

    def blend(
        self,
        *images: str,
        dimensions: Literal["", "PORTRAIT", "SQUARE", "LANDSCAPE"] = "",
        **how: Unpack[How],
    ) -> Requested:
        """Blend two to five images, as `await chain.image(…)` gives them."""
        return self.submit(Blend(images=images, dimensions=dimensions), **how)

    def describe(self, image: str, **how: Unpack[How]) -> Requested:
        """Have an image described by four prompts."""
        return self.submit(Describe(image=image), **how)

    def shorten(self, prompt: str, **how: Unpack[How]) -> Requested:
        """Learn which words of a prompt count."""
        return self.submit(Shorten(prompt=prompt), **how)

    def cancel(self) -> Requested:
        """End the event's task, if it has not ended. Costs nothing."""
        return self.submit(Cancel(task_id=self._task.id))

    def repeat(self, submission: Submission, **how: Unpack[How]) -> Requested:
        """Submit the same once more, as a new intent: right for what was refused, and paid for again otherwise."""
        generation = int(submission.idempotency_key.rpartition("|")[2] or 0) + 1
        request = decode_request(submission.request)
        self._stage(request, submission.label, submission.depth, {"again": generation} | how)
        return Requested([submission.label])

    def submit(self, request: Request, **how: Unpack[How]) -> Requested:
        """Submit any request, typed as in `hookchain.requests`.

        Raises `GiveUp` for one that the upstream's dialect has no place for; the message names the field.
        """
        depth = self.depth if isinstance(request, Cancel) else self.depth + 1
        self._stage(request, kind_of(request), depth, how)
        return Requested([kind_of(request)])

    async def image(self, source: str, *, upstream: str = "") -> str:
        """An image (an address, a file, a data URL) in the form that the upstream takes. Raises `BadImage`.

        Addresses inside a network are not fetched, but for the upstream's own.
        """
        place = self._place_of(upstream)
        if source.startswith(("http://", "https://")):
            return source if place.dialect.takes_image_links else (await self.picture(source)).data_url
        return (await load_image(source)).data_url

    async def picture(self, address: str) -> Image:
        """The image at an address. Raises `BadImage`, as for one inside a network that is not the upstream's own."""
        return await fetch_image(address, is_own=self.is_own_address)

    async def fresh_image_url(self) -> str:
        """The present address of the task's picture, asked of the upstream: those of Discord expire. "" for none."""
        refresh = self._place.refresh
        return await refresh(self._task.id) if refresh is not None else ""

    def is_own_address(self, address: str) -> bool:
        """Whether an address is at the event's upstream itself."""
        return self._place.is_own(address)

    @property
    def staged(self) -> tuple[Staged, ...]:
        """What was asked for so far."""
        return tuple(self._staged)

    @property
    def notes(self) -> str:
        """What happened here, in words, for the delivery's decision."""
        asked = [
            f"{staged.kind} {staged.label}" if staged.label != staged.kind else staged.kind
            for staged in self._staged
        ]
        return "; ".join([*(["asked for " + ", ".join(asked)] if asked else []), *self._notes])

    def note(self, text: str) -> None:
        """Add to the decision that is kept for this delivery."""
        self._notes.append(text)

    def _place_of(self, upstream: str) -> Place:
        if not upstream:
            return self._place
        if upstream not in self._places:
            raise GiveUp(f"no upstream is named {upstream!r}; there are: {', '.join(self._places)}")
        return self._places[upstream]

    def _stage(self, request: Request, label: str, depth: int, how: How) -> None:
        if mistake := mistake_in(how):
            raise GiveUp(f"{label}: {mistake}")
        place = self._place_of(how.get("upstream", ""))
        if parent_of(request) and place.name != self.upstream:
            raise GiveUp(f"{label}: what is about a task goes to the task's own upstream, {self.upstream}")
        if state := how.get("state", ""):
            request = msgspec.structs.replace(request, extra=request.extra | {"state": state})
        try:
            check(request, place.dialect)
        except InvalidRequest as error:
            raise GiveUp(str(error)) from error
        self.fired = True
        generation = how.get("again", 0) or self._generation
        self._staged.append(
            Staged(
                idempotency_key=key_of(place.name, request, within=self._task.id, generation=generation),
                chain_id=self.id,
                upstream=place.name,
                kind=kind_of(request),
                label=label,
                request=encode_request(request),
                parent_id=parent_of(request) or self._task.id,
                depth=depth,
                asked_by=self._asked_by,
                lane=lane_of(request, place.name, place.dialect),
                priority=how.get("priority", 0),
                delay_ms=int(1000 * how.get("after", 0)),
            )
        )
