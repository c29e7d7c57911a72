"""The tasks of the upstream: what is true of each, and what it says of each."""

from __future__ import annotations

import copy
import threading
import unicodedata
from collections.abc import Iterator
from typing import Any, Literal

from tests.hostile import shapes
from tests.hostile.clock import Timer
from tests.hostile.manners import Manners
from tests.hostile.shapes import Buttons, Json

Act = Literal["tell", "wait", "work"]
"""What a task does next: tell its hook, wait until the test lets it go on, or work for its time."""

ENDED = ("SUCCESS", "FAILURE", "CANCEL")


class Task:
    """One task. `status` and the other fields are the upstream's word at this moment, whether it lies or not."""

    def __init__(
        self,
        manners: Manners,
        clock: Timer,
        *,
        name: str,
        action: str,
        prompt: str,
        origin: str,
        address: str,
        hook: str = "",
        kind: str = "",
    ) -> None:
        self._clock, self._skew_s = clock, manners.skew_s
        self.id = name
        """What callbacks call it."""
        self.kind = kind
        """The kind of submit that made it: `imagine`, `action` …; "" where none did."""
        self.place: Literal["", "runs", "waits"] = ""
        """Its place among the jobs, where there are so many and no more."""
        self.registered_s = clock.now_s()
        self.front_id = shapes.new_front_id() if manners.relay else self.id
        """What the answer to its submit called it."""
        self.job = shapes.new_job()
        self.action, self.prompt, self.description = action, prompt, origin
        self.hook = hook
        self.state: str | None = None
        self.parent_id: str | None = None
        self.custom_id = ""
        self.status, self.progress = "NOT_START", "0%"
        self.fail_reason: str | None = None
        self.submitted_at_ms = self.now_ms()
        self.started_at_ms: int | None = None
        self.finished_at_ms: int | None = None
        self.is_listed, self.is_known = True, True
        self.lacks: frozenset[str] = frozenset()
        """What it does not show yet: `buttons`, `imageUrl`, `finalPrompt`."""
        self._address = (manners.image_url or f"{address}/attachments/{{job}}.png").format(job=self.job)
        true = shapes.buttons_for(action, self.job)
        self.buttons: Buttons = manners.labels(copy.deepcopy(true)) if manners.labels else true
        self.meaning = {
            shown["customId"]: one["customId"] for shown, one in zip(self.buttons, true, strict=True)
        }
        """The customIds that it shows, and what each means in this upstream's own grammar."""
        self.acts: Iterator[Act] = self._run(manners)
        self.waits = False
        """Whether the test must let it go on."""

    def _run(self, manners: Manners) -> Iterator[Act]:
        self.start()
        yield "tell"
        if manners.holds:
            yield "wait"
        if manners.works_s:
            yield "work"
        self.go(46)
        yield "tell"
        if manners.fails_with:
            self.fail(manners.fails_with)
            yield "tell"
            return
        if manners.false_end:
            self.fail(manners.false_reason, as_status=manners.false_end)
            yield "tell"
            if manners.pauses:
                yield "wait"
        self.finish(without=manners.late)
        yield "tell"
        if manners.late:
            if manners.pauses:
                yield "wait"
            self.lacks = frozenset()
            if manners.late_is_told:
                yield "tell"

    def now_ms(self) -> int:
        """Milliseconds since the epoch by the upstream's clock, which may be wrong."""
        return int((self._clock.now_s() + self._skew_s) * 1000)

    def start(self) -> None:
        """Discord took it."""
        self.status, self.started_at_ms = "SUBMITTED", self.now_ms()

    def go(self, percent: int) -> None:
        """It runs."""
        self.status, self.progress = "IN_PROGRESS", f"{percent}%"

    def finish(self, *, without: frozenset[str] = frozenset()) -> None:
        """It ends well, whatever it said before."""
        self.status, self.progress, self.fail_reason = "SUCCESS", "100%", None
        self.finished_at_ms, self.lacks = self.now_ms(), without

    def fail(self, reason: str, *, as_status: str = "FAILURE") -> None:
        """It ends badly, or says so."""
        self.status, self.progress, self.fail_reason = as_status, "", reason
        self.finished_at_ms = self.now_ms()

    @property
    def names(self) -> set[str]:
        """Its one id, or its two."""
        return {self.id, self.front_id}

    @property
    def has_ended(self) -> bool:
        """Whether it says that it has."""
        return self.status in ENDED

    @property
    def is_open(self) -> bool:
        """Whether it was taken to be done, and is not done."""
        return not self.has_ended and (self.status != "MODAL" or self.place == "waits")

    def press(self, custom_id: str) -> None:
        """Colour the button green, as Plus does before the press is known to succeed."""
        for one in self.buttons:
            if one["customId"] == custom_id:
                one["style"] = shapes.PRESSED

    def custom_id_of(self, label: str) -> str:
        """The customId of the button with this label or emoji."""
        return str(next(one["customId"] for one in self.buttons if label in (one["label"], one["emoji"])))

    def shown(self, manners: Manners, *, name: str = "") -> Json:
        """The task as a callback or a read shows it, before it is spelt in another way."""
        is_running, is_done = self.status == "IN_PROGRESS", self.status == "SUCCESS"
        has_image = is_done and "imageUrl" not in self.lacks
        preview = self._address.replace(".png", "_46.webp") if is_running else None
        shown: Json = {
            "id": name or self.id,
            "action": self.action,
            "status": self.status,
            "prompt": self.prompt,
            "promptEn": self.prompt,
            "description": self.description,
            "state": self._state(manners),
            "submitTime": self.submitted_at_ms,
            "startTime": self.started_at_ms,
            "finishTime": self.finished_at_ms,
            "progress": self.progress,
            "imageUrl": self._address if has_image else preview,
            "failReason": self.fail_reason,
            "properties": self._properties(manners, is_done),
            "buttons": copy.deepcopy(self.buttons) if is_done and "buttons" not in self.lacks else [],
            "imageWidth": 1024 if has_image else None,
            "imageHeight": 1024 if has_image else None,
        }
        if manners.tells_parent:
            shown["parentId"] = self.parent_id
        return shown

    def _state(self, manners: Manners) -> str | None:
        if manners.state == "replaced":
            return "account-7"
        is_shown = manners.state_on is None or self.kind in manners.state_on
        return self.state if is_shown and manners.state == "echoed" else None

    def _properties(self, manners: Manners, is_done: bool) -> dict[str, Any]:
        properties: dict[str, Any] = {
            "botType": "MID_JOURNEY",
            "discordInstanceId": "1118138338562560102",
            "flags": 0,
            "messageHash": self.job if is_done else None,
        }
        is_shown = manners.hook_on is None or self.kind in manners.hook_on
        if manners.echoes_hook and is_shown and self.hook:
            properties["notifyHook"] = self.hook
        if self.custom_id:
            properties["customId"] = self.custom_id
        if is_done:
            number = shapes.number_of(self.custom_id) if self.action == "UPSCALE" else ""
            properties["messageContent"] = f"**{self.prompt}**" + (f" - Image #{number}" if number else "")
            if "finalPrompt" not in self.lacks:
                properties["finalPrompt"] = shapes.texts_of(self.action, self.prompt)
        return properties


class Shelf:
    """All tasks, by each of their names. One lock for the tasks, the tests and the answers."""

    def __init__(self, clock: Timer, address: str) -> None:
        self.lock = threading.RLock()
        self._clock, self._address = clock, address
        self._tasks: list[Task] = []
        self.names_again: list[str] = []
        """Ids that the next tasks get although others had them, as after a restart that lost its store."""

    def make(
        self, manners: Manners, *, action: str, prompt: str, origin: str, hook: str = "", kind: str = ""
    ) -> Task:
        """A task that is not kept yet."""
        with self.lock:
            return Task(
                manners,
                self._clock,
                name=self._new_name(manners),
                action=action,
                prompt=prompt,
                origin=origin,
                address=self._address,
                hook=hook,
                kind=kind,
            )

    def _new_name(self, manners: Manners) -> str:
        if self.names_again:
            return self.names_again.pop(0)
        return shapes.new_id(int((self._clock.now_s() + manners.skew_s) * 1000))

    def rename(self, task: Task, manners: Manners) -> None:
        """Call it something else from now on; nobody knows the old name any more."""
        with self.lock:
            task.id = task.front_id = self._new_name(manners)

    def listed(self, manners: Manners) -> list[Task]:
        """What a list can show by now, oldest first."""
        with self.lock:
            since_s = self._clock.now_s() - manners.list_behind_s
            return [task for task in self.all() if task.is_listed and task.registered_s <= since_s]

    def jobs(self, place: Literal["runs", "waits"]) -> list[Task]:
        """Those that have a place among the jobs, or wait for one, oldest first."""
        with self.lock:
            return [task for task in self._tasks if task.place == place]

    def add(self, task: Task) -> Task:
        """Keep a task."""
        with self.lock:
            self._tasks.append(task)
        return task

    def remove(self, task: Task) -> None:
        """Forget it, as a full queue deletes the task that waits for its window's answer."""
        with self.lock:
            self._tasks.remove(task)

    def find(self, name: str, manners: Manners) -> Task | None:
        """The task with this name, where the relay lets that name be read."""
        if manners.finds_loosely:
            name = unicodedata.normalize("NFKC", name).lower()
        with self.lock:
            for task in self._tasks:
                if name not in (task.id, task.front_id) or not task.is_known:
                    continue
                if name in {"front": {task.front_id}, "behind": {task.id}}.get(manners.relay, task.names):
                    return task
        return None

    def all(self) -> list[Task]:
        """Every task that is known, oldest first."""
        with self.lock:
            return sorted(
                (task for task in self._tasks if task.is_known),
                key=lambda task: (task.submitted_at_ms, task.id),
            )
