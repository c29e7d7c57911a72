"""The chain as receivers see it. Its methods only stage submissions, which are committed together with the end of the delivery, or not
at all: a receiver that fails half-way submits nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

import msgspec

from dispatcher.pictures.confined import size
from dispatcher.plugins import slips
from dispatcher.plugins.chain_store import StoreOfChain
from dispatcher.plugins.chain_tasks import TasksOfChain
from dispatcher.plugins.errors import GiveUp
from dispatcher.plugins.expressible import check_expressible
from dispatcher.plugins.fresh_links import FreshLinks
from dispatcher.plugins.open_modal import OpenModal
from dispatcher.plugins.requested import Requested
from dispatcher.plugins.roots import RootOfChain
from dispatcher.plugins.scheduled import Terms, scheduled
from dispatcher.plugins.submit_options import SubmitOptions
from dispatcher.plugins.upstream_handle import UpstreamHandle as UpstreamHandle
from dispatcher.policy.intent import generation_of, key_of, thing_of
from midjourney.addresses import is_link
from midjourney.buttons import Button
from midjourney.errors import InvalidRequest
from midjourney.image_data import Image
from midjourney.links import Near, check_image
from midjourney.loading import fetch_image, load_image
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
    kind_of,
    parent_of,
)
from midjourney.types import Task
from storage.records import Staged, Submission


class Chain(TasksOfChain, RootOfChain, StoreOfChain, FreshLinks):
    """The chain of the event's task; its methods submit more in this chain.

    `root_id` is the id of the chain's first task, "" until it is known. `client` is the client of the gateway that ordered it, or "".
    `depth` is that of the task: 0 for a root, 1 for a task made by a press on it. `submissions` is the number of submissions in the chain so
    far. `event` is its id and when it arrived. `occasion` names the occurrence of a rule that runs by the clock: there is no task, and each
    submission begins a chain. `pressed` and `pressed_by_person` are known only when something delayed is due. Every method takes the options
    of `SubmitOptions`, such as `after=60` or `priority=1`.
    """

    def __init__(
        self,
        *,
        id: str,
        depth: int,
        submissions: int,
        task: Task,
        modal: OpenModal | None,
        asked_by: str,
        handle: UpstreamHandle,
        handles: Mapping[str, UpstreamHandle],
        generation: int = 0,
        root_id: str = "",
        client: str = "",
        event: tuple[int, int] = (0, 0),
        occasion: str = "",
    ) -> None:
        self.id = id
        self.root_id = root_id
        self.client = client
        self.upstream = handle.name
        self.zone = handle.zone
        self.depth = depth
        self.submissions = submissions
        self.fired = False
        self.pressed: tuple[str, ...] = ()
        self.pressed_by_person = False
        self.terms = Terms(receiver=asked_by, event=event[0], asked_ms=event[1])
        self._task = task
        self._modal = modal
        self._asked_by = asked_by
        self._handle = handle
        self._handles = handles
        self._generation = generation
        self._occasion = occasion
        self._staged: list[Staged] = []
        self._notes: list[str] = []

    def press(self, *buttons: str | Button, **options: Unpack[SubmitOptions]) -> Requested:
        """Press buttons of the event's task: labels ("V2"), globs ("U*"), kinds ("custom_zoom"), customIds, or buttons of the task.

        Each button is pressed once, no matter how many receivers press it or how often. A button that the task shows as
        pressed is skipped, unless `again` is set. A name that matches no button is noted in the delivery's decision.
        """
        return self._press(slips.button_names(buttons), options)

    def _press(self, names: Sequence[str], options: SubmitOptions, *, zoom: float = 0) -> Requested:
        slips.check_options(", ".join(names), options)
        pressed = Requested()
        for name in names:
            matches = presses(self._task, name, self._handle.dialect)
            if not matches:
                offered = ", ".join(button.name for button in self._task.buttons) or "none"
                self.note(f"no button matches {name!r} (there are: {offered})")
            if done := [press.label for press in matches if press.is_pressed and not options.get("again")]:
                self.note(f"pressed already: {', '.join(done)}")
                matches = [press for press in matches if press.label not in done]
            for press in matches:
                self._stage(slips.with_zoom(press.request, zoom), press.label, self.depth + 1, options)
                pressed.append(press.label)
        return pressed

    def vary(
        self, kind: Literal["subtle", "strong", "region"], **options: Unpack[SubmitOptions]
    ) -> Requested:
        """Press Vary (Subtle), Vary (Strong) or Vary (Region); the last opens a modal that needs a mask."""
        return self._press([slips.one_of("vary", kind, ("subtle", "strong", "region"))], options)

    def zoom(
        self, factor: float | Literal["1.5x", "2x", "custom"], **options: Unpack[SubmitOptions]
    ) -> Requested:
        """Press Zoom Out: 2 and 1.5 have buttons. Any other factor above 1, up to 2, opens Custom Zoom, whose modal is then answered
        with this factor. "custom" only opens the modal."""
        button, answer = slips.zoom_button(factor)
        return self._press([button], options, zoom=answer)

    def pan(self, to: Literal["left", "right", "up", "down"], **options: Unpack[SubmitOptions]) -> Requested:
        """Press a pan arrow."""
        return self._press([slips.one_of("pan", to, ("left", "right", "up", "down"))], options)

    def animate(self, motion: Literal["low", "high"], **options: Unpack[SubmitOptions]) -> Requested:
        """Press Animate (Low motion) or Animate (High motion)."""
        return self._press([slips.one_of("animate", motion, ("low", "high"))], options)

    def modal(self, *, prompt: str = "", mask: str = "", **options: Unpack[SubmitOptions]) -> Requested:
        """Answer the event's modal. `mask`: a PNG as base64 or data URL, white where the picture may change.

        Raises `ValueError` if the event has no modal. A modal is answered once, no matter how many receivers answer it.
        """
        if self._modal is None:
            raise ValueError(
                "this event has no modal to answer: connect the receiver to submission_needs_modal"
            )
        request = Modal(task_id=self._modal.task_id, prompt=prompt or self._modal.prompt, mask=mask)
        self._stage(request, "modal", self.depth, options)
        return Requested(["modal"])

    def imagine(
        self,
        prompt: str,
        *,
        images: Sequence[str] = (),
        bot_type: BotType = "",
        extra: Mapping[str, Any] | None = None,
        **options: Unpack[SubmitOptions],
    ) -> Requested:
        """Submit a new prompt as part of this chain. The fields of `extra` are added to the request unchanged."""
        request = Imagine(prompt=prompt, images=tuple(images), bot_type=bot_type, extra=dict(extra or {}))
        return self.submit(request, **options)

    def blend(
        self,
        *images: str,
        dimensions: Literal["", "PORTRAIT", "SQUARE", "LANDSCAPE"] = "",
        **options: Unpack[SubmitOptions],
    ) -> Requested:
        """Blend two to five images, as returned by `await chain.image(…)`."""
        return self.submit(Blend(images=images, dimensions=dimensions), **options)

    def describe(self, image: str, **options: Unpack[SubmitOptions]) -> Requested:
        """Get four prompts that describe an image."""
        return self.submit(Describe(image=image), **options)

    def shorten(self, prompt: str, **options: Unpack[SubmitOptions]) -> Requested:
        """Find out which words of a prompt matter."""
        return self.submit(Shorten(prompt=prompt), **options)

    def cancel(self, **options: Unpack[SubmitOptions]) -> Requested:
        """Cancel the event's task if it has not ended. Free of charge."""
        return self.submit(Cancel(task_id=self._task.id), **options)

    def repeat(self, submission: Submission, **options: Unpack[SubmitOptions]) -> Requested:
        """Repeat a whole submission: prompt, images and extra fields, as a new intent.

        Meant for a submission that was refused; any other is paid for again.
        """
        request = decode_request(submission.request)
        again = generation_of(submission.idempotency_key) + 1
        self._stage(request, submission.label, submission.depth, {"again": again} | options)
        return Requested([submission.label])

    def submit(self, request: Request, **options: Unpack[SubmitOptions]) -> Requested:
        """Submit any request, typed as in `hookchain.requests`.

        Raises `GiveUp` for a request that the upstream's dialect cannot express, and for one with a private link; the
        message names the field.
        """
        is_next = not isinstance(request, Cancel) and not self._occasion
        self._stage(request, kind_of(request), self.depth + is_next, options)
        return Requested([kind_of(request)])

    async def image(self, source: str | Path, *, upstream: str = "") -> str:
        """Convert an image (a URL, a data URL, a file as a `Path`) to the form that the upstream accepts. Raises `BadImage`.

        An image in a private network is loaded only from the upstream itself, or from a host that `private_hosts` of the
        event's upstream or of `upstream` names. Raises `GiveUp` for other links to a private network.
        """
        handle = self._handle_of(upstream)
        near = self._handle.near | handle.near
        if isinstance(source, str) and is_link(source):
            try:
                check_image("image", source, near)
            except InvalidRequest as error:
                raise GiveUp(str(error)) from error
            if handle.dialect.takes_image_links and not near.loads(source):
                return source
        return (await self._loaded(source, near)).data_url

    async def picture(self, address: str) -> Image:
        """Load the image at a URL. Raises `BadImage`, also for a private link that the event's upstream does not allow."""
        return await self._loaded(address, self._handle.near)

    async def picture_size(self, address: str) -> tuple[int, int]:
        """Width and height, in pixels, of the image at a URL. Raises `BadImage`, as `picture` does."""
        return await size((await self.picture(address)).data)

    async def _loaded(self, source: str | Path, near: Near) -> Image:
        if isinstance(source, str) and is_link(source):
            return await fetch_image(source, may_be_private=near.may_be_private)
        return await load_image(source)

    def may_be_private(self, address: str) -> bool:
        """True if a URL may be a private link: to the event's upstream, or to a host in its `private_hosts`."""
        return self._handle.near.may_be_private(address)

    @property
    def staged(self) -> tuple[Staged, ...]:
        """The submissions staged so far."""
        return tuple(self._staged)

    @property
    def notes(self) -> str:
        """A description of what was staged and noted, for the delivery's decision."""
        requested = [
            f"{staged.kind} {staged.label}" if staged.label != staged.kind else staged.kind
            for staged in self._staged
        ]
        return "; ".join([*(["asked for " + ", ".join(requested)] if requested else []), *self._notes])

    def note(self, text: str) -> None:
        """Add a text to the decision that is stored for this delivery."""
        self._notes.append(text)

    def _handle_of(self, upstream: str) -> UpstreamHandle:
        if not upstream:
            return self._handle
        if upstream not in self._handles:
            raise GiveUp(f"unknown upstream {upstream!r}; there are: {', '.join(self._handles)}")
        return self._handles[upstream]

    def _stage(self, request: Request, label: str, depth: int, options: SubmitOptions) -> None:
        slips.check_options(label, options)
        handle = self._handle_of(options.get("upstream", ""))
        if parent_of(request) and handle.name != self.upstream:
            raise GiveUp(
                f"{label}: a submission about a task always goes to that task's upstream, {self.upstream}"
            )
        if state := options.get("state", ""):
            request = msgspec.structs.replace(request, extra=dict(request.extra) | {"state": state})
        encoded = slips.checked_request(label, request)
        check_expressible(request, options.get("mode", ""), handle, self._handle.near | handle.near)
        self.fired, generation = True, options.get("again", 0) or self._generation
        staged = Staged(
            idempotency_key=key_of(
                handle.name, request, within=self._occasion or self._task.id, generation=generation
            ),
            chain_id=self.id,
            upstream=handle.name,
            kind=kind_of(request),
            label=label,
            request=encoded,
            parent_id=parent_of(request) or self._task.id,
            depth=depth,
            asked_by=self._asked_by,
            lane=lane_of(request, handle.name, handle.dialect),
            priority=options.get("priority", 0),
            thing=thing_of(request, generation=generation),
            mode=options.get("mode", ""),
        )
        self._staged.append(scheduled(staged, options, self.terms, handle.zone, handle.mistake_in))
