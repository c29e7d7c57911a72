"""An upstream that lies, without a socket: its tasks, what becomes of them, and what it calls back.

`upstream.py` puts it behind a port, `inside.py` into the test's own event loop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from starlette.types import ASGIApp

from tests.hostile.caller import Call, Sender
from tests.hostile.clock import Timer
from tests.hostile.desk import Answer, Desk, Trouble
from tests.hostile.http import Http
from tests.hostile.ledger import Ledger, Request
from tests.hostile.manners import Manners
from tests.hostile.reads import Reads, spelt
from tests.hostile.shapes import Json
from tests.hostile.tasks import Shelf, Task


class Model:
    """A test makes tasks in it, lets it tell of them, and reads in `ledger` what really came. `app` is its HTTP side."""

    def __init__(self, manners: Manners, secret: str, *, url: str, clock: Timer, caller: Sender) -> None:
        self.manners, self.url = manners, url
        self.sink = f"{url}/sink"
        """Takes whatever effects send out; see `Ledger.forwarded`."""
        self._clock, self._caller = clock, caller
        self.ledger = Ledger(now_s=clock.now_s)
        self.shelf = Shelf(clock, url)
        self.desk = Desk(self.shelf, self.ledger, clock)
        self.loses_callback: Callable[[], bool] = lambda: False
        """Asked before each callback that would go out by itself."""
        self.app: ASGIApp = Http(self, Reads(self.shelf, self.ledger), secret).app

    def change(self, **manners: Any) -> None:
        """Behave in another way from now on: the fields of `Manners`."""
        self.manners = dataclasses.replace(self.manners, **manners)

    def next_submit(self, trouble: Trouble, *, of: str = "", times: int = 1) -> None:
        """What becomes of the next submits, or of the next ones to `of` (`imagine`, `action`, `modal` …)."""
        with self.shelf.lock:
            self.desk.troubles.extend([(of, trouble)] * times)

    def no_more_troubles(self) -> None:
        """Take submits as they come, from now on."""
        with self.shelf.lock:
            self.desk.troubles.clear()

    def register(self, came: Request, trouble: Trouble | None, tell: Callable[[Answer], None]) -> None:
        """Take a submit, now or as late as the manners say."""
        late = self.manners.registers_late
        is_late = late is None or came.kind in late

        def take() -> None:
            tell(self.desk.take(came, trouble, self.manners))

        if is_late and self.manners.registers_after_s:
            self._clock.after(self.manners.registers_after_s, take)
        else:
            take()

    # Tasks that a test makes: nobody submitted them here, and nobody hears of them unless the test says so.

    def running(self, prompt: str = "a cat", *, action: str = "IMAGINE", hook: str = "") -> Task:
        """A task at 46 %."""
        origin = f"/{action.lower()} {prompt}"
        task = self.shelf.make(self.manners, action=action, prompt=prompt, origin=origin, hook=hook)
        task.acts = iter(())
        task.start()
        task.go(46)
        return self.shelf.add(task)

    def finished_grid(
        self,
        prompt: str = "a cat",
        *,
        hook: str = "",
        pressed: tuple[str, ...] = (),
        is_green: bool = True,
        has_children: bool = True,
        ago_s: float = 0,
    ) -> Task:
        """A picture of four that is done. `pressed` are labels of buttons: green ones, each with its finished child."""
        task = self.running(prompt, hook=hook)
        with self.shelf.lock:
            task.finish()
            self.age(task, ago_s)
            for label in pressed:
                if is_green:
                    task.press(task.custom_id_of(label))
                if has_children:
                    self._child(task, label, ago_s)
        return task

    def _child(self, parent: Task, label: str, ago_s: float) -> None:
        origin = f"/up {parent.id} {label}"
        child = self.shelf.make(
            self.manners,
            action="UPSCALE" if label.startswith("U") else "VARIATION",
            prompt=parent.prompt,
            origin=origin,
            hook=parent.hook,
        )
        child.parent_id = parent.id
        child.custom_id = parent.meaning[parent.custom_id_of(label)]
        child.acts = iter(())
        child.start()
        child.finish()
        self.age(child, ago_s)
        self.shelf.add(child)

    def age(self, task: Task, ago_s: float) -> None:
        """Let it have happened so long ago."""
        with self.shelf.lock:
            task.registered_s -= ago_s
            task.submitted_at_ms -= int(ago_s * 1000)
            for name in ("started_at_ms", "finished_at_ms"):
                if (at_ms := getattr(task, name)) is not None:
                    setattr(task, name, at_ms - int(ago_s * 1000))

    # What becomes of a task. Only the upstream knows, until it tells, or is asked.

    def finish(self, task: Task, *, without: frozenset[str] = frozenset()) -> None:
        """It ends well, whatever was said before, with or without `buttons`, `imageUrl`, `finalPrompt`."""
        with self.shelf.lock:
            task.finish(without=without)
        self._give_places()

    def fail(self, task: Task, reason: str = "任务超时") -> None:
        """It fails."""
        with self.shelf.lock:
            task.fail(reason)
        self._give_places()

    def cancel(self, task: Task) -> None:
        """It is cancelled."""
        with self.shelf.lock:
            task.fail("取消任务", as_status="CANCEL")
        self._give_places()

    def give_buttons(self, task: Task) -> None:
        """What came late is there: buttons, image and texts."""
        with self.shelf.lock:
            task.lacks = frozenset()

    def forget(self, task: Task) -> None:
        """Know nothing of it any more, as a store in memory after a restart."""
        with self.shelf.lock:
            task.is_known = False

    def remember(self, task: Task) -> None:
        """Know it again: its store was brought back."""
        with self.shelf.lock:
            task.is_known = True

    def rename(self, task: Task) -> None:
        """Call it by another id from now on, everywhere; the old one is unknown."""
        self.shelf.rename(task, self.manners)

    def hide(self, task: Task) -> None:
        """Leave it out of every list and batch; a single fetch knows it."""
        with self.shelf.lock:
            task.is_listed = False

    def go_on(self, task: Task | None = None) -> None:
        """Let this task, or each that waits, go on to what it does next; see `Manners.holds` and `pauses`."""
        for one in [task] if task else [one for one in self.shelf.all() if one.waits]:
            self.beginning(one)()

    def beginning(self, task: Task) -> Callable[[], None]:
        """What lets it run, with its callbacks, until it waits or is done. They are due at once; see `Caller.due`."""
        return self._caller.due(lambda: self._run(task))

    def _run(self, task: Task) -> None:
        while True:
            with self.shelf.lock:
                act = next(task.acts, None)
                task.waits = act == "wait"
            self._give_places()
            if act == "work":
                self._clock.after(self.manners.works_s, lambda: self.beginning(task)())
            if act != "tell":
                return
            self.tell(task)

    def _give_places(self) -> None:
        """Those that ended leave their places among the jobs to those that waited longest."""
        with self.shelf.lock:
            jobs, begin = self.manners.jobs, list[Task]()
            for task in self.shelf.jobs("runs"):
                task.place = "" if task.has_ended else "runs"
            free = 0 if jobs is None else jobs - len(self.shelf.jobs("runs"))
            for task in self.shelf.jobs("waits")[: max(0, free)]:
                task.place = "runs"
                begin.append(task)
        for task in begin:
            self.beginning(task)()

    # Callbacks.

    def tell(self, task: Task, hook: str = "") -> Call | None:
        """Call back with what it says of a task at this moment: to the hook, or to the task's own, if it has one."""
        to = hook or task.hook
        if not to or ((self.manners.is_silent or self.loses_callback()) and not hook):
            return None
        with self.shelf.lock:
            shown = spelt(task.shown(self.manners), self.manners)
        return self.post(to, self.manners.wrapping(shown) if self.manners.wrapping else shown)

    def forged(self, task: Task, **words: Any) -> Json:
        """The payload of a task as it would be told, with some words changed; `properties` are merged."""
        with self.shelf.lock:
            shown = task.shown(self.manners)
        words["properties"] = shown["properties"] | words.get("properties", {})
        return shown | words

    def call_back(self, hook: str, task: Task, **words: Any) -> Call:
        """Post a forged callback about a real task; without words, a true one."""
        return self.post(hook, self.forged(task, **words))

    def post(self, hook: str, body: Any) -> Call:
        """Post a callback with any body, wholly invented or not."""
        return self._caller.post(hook, body, encoding=self.manners.encoding)

    def restart(
        self,
        *,
        hook: str = "",
        of_the_last_s: float = 12 * 3600,
        forgets: bool = False,
        names_again: bool = False,
    ) -> int:
        """Stop and start: it tells again of the work of the last 12 h (trueai), or forgets all tasks (a store in memory).

        `hook` takes the place of each task's own, as the global one does. `names_again`: new tasks get the ids of those that it
        forgot, oldest first. Gives the number of callbacks.
        """
        with self.shelf.lock:
            tasks = self.shelf.all()
            if forgets:
                for task in tasks:
                    task.is_known, task.place = False, ""
                    if names_again:
                        self.shelf.names_again.append(task.id)
                return 0
        since_ms = int((self._clock.now_s() + self.manners.skew_s - of_the_last_s) * 1000)
        told = [self.tell(task, hook) for task in tasks if task.submitted_at_ms >= since_ms]
        return len([one for one in told if one is not None])
