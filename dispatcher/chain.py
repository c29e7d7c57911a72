"""The handle a receiver gets. Its methods stage submissions and do no I/O: what was staged is committed together with
"this delivery is done", or not at all, so a receiver that fails half-way has asked for nothing."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal

import msgspec

from dispatcher.errors import GiveUp
from dispatcher.intent import key_of
from midjourney.dialects import Dialect
from midjourney.errors import InvalidRequest
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
    encode_request,
    kind_of,
    parent_of,
)
from midjourney.types import Task
from midjourney.wire import check
from storage.records import Staged


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """A modal that waits for an answer. `prompt` is what it shows: Midjourney's text, else that of the parent.

    `kind` is what was pressed ("custom_zoom", "vary_region" …), `needs_mask` whether an answer without one is refused.
    """

    task_id: str
    prompt: str
    label: str = ""
    kind: str = ""
    custom_id: str = ""

    @property
    def needs_mask(self) -> bool:
        """True for Vary Region."""
        return self.kind == "vary_region"


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
    asked for so far.
    """

    def __init__(
        self,
        *,
        id: str,
        upstream: str,
        depth: int,
        submissions: int,
        task: Task,
        modal: Window | None,
        dialect: Dialect,
        asked_by: str,
    ) -> None:
        self.id = id
        self.upstream = upstream
        self.depth = depth
        self.submissions = submissions
        self._task = task
        self._modal = modal
        self._dialect = dialect
        self._asked_by = asked_by
        self._staged: list[Staged] = []
        self._notes: list[str] = []

    def press(self, *wanted: str, again: int = 0) -> Requested:
        """Press buttons of the event's task: labels ("V2"), globs ("U*"), kinds ("custom_zoom") or customIds.

        Each button is pressed once, whatever asks and however often; `again` counts deliberate repetitions. What
        matches no button presses nothing, and is noted in the delivery's decision.
        """
        pressed = Requested()
        for one in wanted:
            found = presses(self._task, one, self._dialect)
            if not found:
                offered = ", ".join(button.name for button in self._task.buttons) or "none"
                self._notes.append(f"no button matches {one!r} (there are: {offered})")
            for press in found:
                self._stage(press.request, press.label, self.depth + 1, generation=again)
                pressed.append(press.label)
        return pressed

    def modal(self, *, prompt: str = "", mask: str = "") -> Requested:
        """Answer the window that this event is about. `mask`: a PNG as base64 or data URL, white where it may change.

        Raises `ValueError` when the event is about no window. A window is answered once, whoever asks.
        """
        if self._modal is None:
            raise ValueError("chain.modal answers a window: connect to submission_needs_modal")
        request = Modal(task_id=self._modal.task_id, prompt=prompt or self._modal.prompt, mask=mask)
        self._stage(request, "modal", self.depth)
        return Requested(["modal"])

    def imagine(
        self,
        prompt: str,
        *,
        images: tuple[str, ...] = (),
        bot_type: BotType = "",
        again: int = 0,
        **extra: Any,
    ) -> Requested:
        """Submit a new prompt as part of this chain. Further fields go into the request as they are."""
        return self.submit(Imagine(prompt=prompt, images=images, bot_type=bot_type, extra=extra), again=again)

    def blend(
        self,
        *images: str,
        dimensions: Literal["", "PORTRAIT", "SQUARE", "LANDSCAPE"] = "",
        again: int = 0,
    ) -> Requested:
        """Blend two to five images, as `hookchain.load_image(…)` gives them (`.data_url`)."""
        return self.submit(Blend(images=images, dimensions=dimensions), again=again)

    def describe(self, image: str, *, again: int = 0) -> Requested:
        """Have an image described by four prompts."""
        return self.submit(Describe(image=image), again=again)

    def shorten(self, prompt: str, *, again: int = 0) -> Requested:
        """Learn which words of a prompt count."""
        return self.submit(Shorten(prompt=prompt), again=again)

    def cancel(self) -> Requested:
        """End the event's task, if it has not ended. Costs nothing."""
        return self.submit(Cancel(task_id=self._task.id))

    def submit(self, request: Request, *, again: int = 0) -> Requested:
        """Submit any request, typed as in `hookchain.requests`.

        Raises `GiveUp` for one that the upstream's dialect has no place for; the message names the field.
        """
        depth = self.depth if isinstance(request, Cancel) else self.depth + 1
        self._stage(request, kind_of(request), depth, generation=again)
        return Requested([kind_of(request)])

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

    def _stage(self, request: Request, label: str, depth: int, *, generation: int = 0) -> None:
        try:
            check(request, self._dialect)
        except InvalidRequest as error:
            raise GiveUp(str(error)) from error
        self._staged.append(
            Staged(
                idempotency_key=key_of(self.upstream, request, within=self._task.id, generation=generation),
                chain_id=self.id,
                upstream=self.upstream,
                kind=kind_of(request),
                label=label,
                request=encode_request(request),
                parent_id=parent_of(request) or self._task.id,
                depth=depth,
                asked_by=self._asked_by,
                lane=lane_of(request, self.upstream, self._dialect),
            )
        )
