"""The state of the simulated server: its tasks, which of them run, and how they change. Time is always an argument."""

from __future__ import annotations

from collections import deque

from msgspec.structs import replace

from midjourney.sandbox import chance, drawing
from midjourney.sandbox.accounts import account
from midjourney.sandbox.faults import Faults
from midjourney.sandbox.jobs import ENDED, Job, Order
from midjourney.sandbox.late_buttons import LateButtons
from midjourney.sandbox.ledger import Ledger
from midjourney.sandbox.news import News
from midjourney.sandbox.profiles import ServerProfile
from midjourney.sandbox.stepping import fail, failure_of, take_step
from midjourney.sandbox.timetable import Step, steps
from midjourney.sandbox.wire import Answer, Message, Properties, Task

_EPOCH_MS = 1_700_000_000_000
"""The time from which ids are counted when a seed is given."""

_BIG = 1_000_000_000_000_000_000
"""The base of big ids: 19 digits, above 2^53, so that a double (or a JavaScript number) cannot hold them."""


class Engine:
    """One account: `concurrency` jobs run at the same time, and `queue` more can wait."""

    def __init__(
        self,
        *,
        seed: int | None,
        now_ms: int,
        speed: float,
        concurrency: int,
        queue: int,
        profile: ServerProfile,
        faults: Faults,
    ) -> None:
        self.profile = profile
        self.faults = faults
        self.jobs: dict[str, Job] = {}
        # Other ids of tasks, see relay.py.
        self.aliases: dict[str, Job] = {}
        self.news = News(profile, faults, speed, now_ms)
        self._late_buttons = LateButtons(faults, speed)
        self.ledger = Ledger()
        self._seeded = seed is not None
        self._seed = now_ms if seed is None else seed
        self._speed = speed
        self._concurrency = concurrency
        self._queue_size = queue
        self._count = 0
        self._running: list[Job] = []
        self._queue: deque[Job] = deque()

    @property
    def is_full(self) -> bool:
        """True if no job can start and none can wait."""
        return len(self._running) >= self._concurrency and len(self._queue) >= self._queue_size

    def queue_full_answer(self) -> Answer:
        """The answer when the queue is full."""
        if self.profile.queue_full == 9:
            return Answer(code=9, description="提交失败，队列已满，请稍后重试")
        return Answer(code=23, description="队列已满，请稍后尝试")

    def create(self, order: Order, now_ms: int) -> Job:
        """Create and store a task that does not run yet. Its times are those of the clock, also where a seed makes its id."""
        self._count += 1
        task_id = self._new_id(_EPOCH_MS + self._count * 1000 if self._seeded else now_ms)
        uuid = chance.uuid(self._seed, self._count)
        properties: Properties = {
            "notifyHook": None if self.profile.drops_hooks else order.notify_hook or None,
            "discordInstanceId": chance.snowflake(self._seed, "instance"),
            "discordChannelId": chance.snowflake(self._seed, "channel"),
            "botType": order.bot_type,
            "nonce": chance.snowflake(self._seed, "nonce", self._count),
            "flags": 0,
        }
        if order.parent_id and self.profile.shape == "tru":
            properties["parentId"] = order.parent_id
        task = Task(
            id=task_id,
            properties=properties,
            action=order.action,
            status="NOT_START",
            prompt=order.prompt,
            prompt_en=order.prompt,
            description=order.description,
            submit_time=now_ms,
            progress="0%",
            state=order.state,
        )
        if not order.scene:
            scene = chance.number(self._seed, "scene", self._count) % 2**32
            order = replace(order, scene=scene or 1, path=drawing.child_path("", 0, order.work))
        job = Job(task, order, uuid)
        self.jobs[task_id] = job
        return job

    def accept(self, kind: str, job: Job, now_ms: int) -> Answer:
        """Start a job or queue it. The caller has checked that there is a place.

        The code is 22 only if others waited before it, so the first one that has to wait gets 1 (novicezk and Plus,
        `DiscordInstanceImpl.java`; trueai, `DiscordService.cs`, line 1654).
        """
        self.ledger.bill(kind)
        ran_by = {key: job.task.properties[key] for key in ("discordInstanceId", "discordChannelId")}
        accepted = Answer(code=1, description="Submit success", result=job.task.id, properties=ran_by)
        if self._finishes_at_once(job):
            self._finish_at_once(job, now_ms)
            return accepted
        if len(self._running) < self._concurrency:
            self._start(job, now_ms)
            return accepted
        ahead = len(self._queue)
        self._queue.append(job)
        if not ahead:
            return accepted
        description = f"In queue, there are {ahead} tasks ahead"
        properties = ran_by | {"numberOfQueues": ahead}
        return replace(accepted, code=22, description=description, properties=properties)

    def cancel(self, task_id: str, now_ms: int) -> tuple[Message, Job | None]:
        """Cancel a task that has not ended. Returns the answer, and the job if it was cancelled. In trueai v11 this is a FAILURE
        (`TaskController.cs`)."""
        job = self.find(task_id)
        if job is None:
            return Message(code=3, description="数据未找到"), None
        if job.task.status in ENDED:
            return Message(code=4, description=f"该任务不可取消: {job.task.action}-{job.task.status}"), None
        job.remaining_steps.clear()
        if self.profile.shape == "tru":
            fail(job, "取消任务", now_ms)
        else:
            job.task = replace(job.task, status="CANCEL", progress="", finish_time=now_ms)
        self._running = [other for other in self._running if other is not job]
        self._queue = deque(other for other in self._queue if other is not job)
        return Message(code=1, description="成功"), job

    def advance(self, now_ms: int) -> list[Job]:
        """Apply all changes that are due. Returns the changed jobs, one entry per change."""
        changed: list[Job] = []
        due = [
            job
            for job in self._running
            if job.remaining_steps and job.started_ms + job.remaining_steps[0].after_ms <= now_ms
        ]
        for job in due:
            self._step(job, job.remaining_steps.popleft(), now_ms)
            self._late_buttons.hold_back(job, now_ms)
            changed.append(job)
        self._running = [job for job in self._running if job.remaining_steps]
        while self._queue and len(self._running) < self._concurrency:
            job = self._queue.popleft()
            self._start(job, now_ms)
            changed.append(job)
        changed += self._late_buttons.release(now_ms)
        self.news.gather(self.jobs.values(), now_ms)
        return changed

    def next_due_ms(self) -> float | None:
        """When the next change is due, in epoch milliseconds, or None."""
        due = [
            job.started_ms + job.remaining_steps[0].after_ms for job in self._running if job.remaining_steps
        ]
        others = (self._late_buttons.next_due_ms(), self.news.next_due_ms())
        return min([*due, *(due_ms for due_ms in others if due_ms is not None)], default=None)

    def account(self) -> dict[str, object]:
        """The JSON of the account that runs the jobs."""
        return account(self._seed, self.profile, concurrency=self._concurrency, queue=self._queue_size)

    def find(self, task_id: str) -> Job | None:
        """The job of a task, by its id or its alias."""
        return self.jobs.get(task_id) or self.aliases.get(task_id)

    def finished(self) -> list[Job]:
        """The jobs that have ended, oldest first."""
        return [job for job in self.jobs.values() if job.task.status in ENDED]

    def unfinished(self) -> list[Job]:
        """The jobs that wait and those that run, oldest first: `queueTasks` of novicezk and Plus (`DiscordInstanceImpl.java`)."""
        return sorted([*self._running, *self._queue], key=lambda job: job.task.submit_time)

    def upscales_of(self, parent: Job, number: int) -> list[Job]:
        """The existing upscales of an image, oldest first."""
        asked = (parent.task.id, "upscale", number)
        orders = ((job, job.order) for job in self.jobs.values())
        return [job for job, order in orders if (order.parent_id, order.work, order.number) == asked]

    def mark_pressed(self, parent: Job, custom_id: str) -> None:
        """Give the pressed button style 3, before the press is known to succeed (Plus 3.7.5)."""
        pressed = (
            replace(button, style=3) if button.custom_id == custom_id else button
            for button in parent.task.buttons
        )
        parent.task = replace(parent.task, buttons=tuple(pressed))

    def _new_id(self, at_ms: int) -> str:
        if self.faults.has("big-ids"):
            return str(_BIG + chance.number(self._seed, "id") % 10**15 * 100 + self._count)
        digits = (chance.number(self._seed, "id") + self._count) % 1000
        while (task_id := f"{at_ms}{digits:03d}") in self.jobs:
            digits = (digits + 1) % 1000
        return task_id

    def _start(self, job: Job, now_ms: int) -> None:
        job.started_ms = now_ms
        fails, is_unanswered = bool(self._failure(job)), job.order.is_unanswered
        job.remaining_steps = deque(
            steps(job.order.work, fails=fails, speed=self._speed, is_unanswered=is_unanswered)
        )
        job.task = replace(job.task, status="SUBMITTED", start_time=now_ms)
        self._running.append(job)
        self.ledger.count_running(len(self._running))

    def _finishes_at_once(self, job: Job) -> bool:
        is_upscale = job.order.work == "upscale" and not job.order.is_unanswered
        return is_upscale and self.faults.strikes("silent", job.uuid)

    def _finish_at_once(self, job: Job, now_ms: int) -> None:
        """Finish a job within its submit and without callbacks, as trueai v11 does with U presses of official accounts."""
        job.task = replace(job.task, start_time=now_ms)
        self._step(job, steps(job.order.work, fails=False, speed=self._speed)[-1], now_ms)

    def _failure(self, job: Job) -> str:
        return failure_of(job, self.profile, self.faults)

    def _step(self, job: Job, step: Step, now_ms: int) -> None:
        if step.status == "FAILURE":
            fail(job, self._failure(job), now_ms)
            return
        if step.status == "SUCCESS" and job.order.work == "upscale":
            self._swap(job)
        take_step(job, step, now_ms, user=chance.snowflake(self._seed, "user"))

    def _swap(self, job: Job) -> None:
        """Swap the results of two upscales, if the fault strikes: Plus 3.7.5 assigns results of upscales of one grid by their
        start, so the first result can go to another task."""
        mine, parent_id = job.order, job.order.parent_id
        for other in self._running:
            theirs = other.order
            if (
                other is job
                or theirs.work != "upscale"
                or theirs.is_unanswered
                or theirs.parent_id != parent_id
            ):
                continue
            if self.faults.strikes("swap", job.uuid):
                job.order = replace(mine, number=theirs.number, note=theirs.note)
                other.order = replace(theirs, number=mine.number, note=mine.note)
            return
