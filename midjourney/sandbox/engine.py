"""The server's mind: which tasks there are, which run, and how each changes. Pure: time is an argument."""

from __future__ import annotations

from collections import deque

import msgspec
from msgspec.structs import replace

from midjourney.sandbox import buttons, chance, drawing
from midjourney.sandbox.drawing import Picture
from midjourney.sandbox.faults import Faults
from midjourney.sandbox.ledger import Ledger
from midjourney.sandbox.manners import Manner
from midjourney.sandbox.timetable import Step, steps
from midjourney.sandbox.wire import Answer, Message, Properties, Task

_EPOCH_MS = 1_700_000_000_000
"""Where ids begin when a seed is given."""

_BIG = 1_000_000_000_000_000_000
"""Above 2^53, and above what web's servers count with: 19 digits."""

_REASONS = (
    "[Internal Server Error] Something went wrong while processing your request",
    "任务超时",
    "[Invalid parameter] Invalid value",
    "Invalid Form Body",
)
ENDED = ("SUCCESS", "FAILURE", "CANCEL")


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is asked for. `number` is the image it shows, 0 for none.

    `scene` is what is seen, kept by all that grows from one picture; `path` how it grew, see drawing.py.
    """

    action: str
    work: str
    prompt: str
    description: str
    base_url: str
    state: str | None = None
    notify_hook: str | None = None
    bot_type: str = "MID_JOURNEY"
    number: int = 0
    scene: int = 0
    path: str = ""
    note: str = ""
    parent_id: str = ""
    text: str = ""  # what a describe or a shorten found


class Job:
    """A task and what the server knows beside it."""

    def __init__(self, task: Task, order: Order, uuid: str) -> None:
        self.task = task
        self.order = order
        self.uuid = uuid
        self.custom_id = ""
        self.started_ms = 0
        self.left: deque[Step] = deque()
        self.picture = ""  # the stem of its image's name; its address is made when the task is shown


class Engine:
    """One account: `concurrency` jobs run at once, `queue` more may wait."""

    def __init__(
        self,
        *,
        seed: int | None,
        now_ms: int,
        speed: float,
        concurrency: int,
        queue: int,
        manner: Manner,
        faults: Faults,
    ) -> None:
        self.manner = manner
        self.faults = faults
        self.jobs: dict[str, Job] = {}
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
        """No job may start, and none may wait."""
        return len(self._running) >= self._concurrency and len(self._queue) >= self._queue_size

    def full(self) -> Answer:
        """What a full queue is answered."""
        if self.manner.queue_full == 9:
            return Answer(code=9, description="提交失败，队列已满，请稍后重试")
        return Answer(code=23, description="队列已满，请稍后尝试")

    def new(self, order: Order, now_ms: int) -> Job:
        """A task that is stored and does not run yet."""
        self._count += 1
        at_ms = _EPOCH_MS + self._count * 1000 if self._seeded else now_ms
        task_id = self._new_id(at_ms)
        uuid = chance.uuid(self._seed, self._count)
        properties: Properties = {
            "notifyHook": None if self.manner.drops_hooks else order.notify_hook,
            "discordInstanceId": chance.snowflake(self._seed, "instance"),
            "discordChannelId": chance.snowflake(self._seed, "channel"),
            "botType": order.bot_type,
            "nonce": chance.snowflake(self._seed, "nonce", self._count),
            "flags": 0,
        }
        if order.parent_id and self.manner.shape == "tru":
            properties["parentId"] = order.parent_id
        task = Task(
            id=task_id,
            properties=properties,
            action=order.action,
            status="NOT_START",
            prompt=order.prompt,
            prompt_en=order.prompt,
            description=order.description,
            submit_time=at_ms,
            progress="0%",
            state=order.state,
        )
        if not order.scene:
            scene = chance.number(self._seed, "scene", self._count) % 2**32
            order = replace(order, scene=scene or 1, path=drawing.grown("", 0, order.work))
        job = Job(task, order, uuid)
        self.jobs[task_id] = job
        return job

    def accept(self, kind: str, job: Job, now_ms: int) -> Answer:
        """Run a job, or let it wait. The caller has looked whether there is a place."""
        self.ledger.bill(kind)
        account = {key: job.task.properties[key] for key in ("discordInstanceId", "discordChannelId")}
        accepted = Answer(code=1, description="Submit success", result=job.task.id, properties=account)
        if job.order.work == "upscale" and self.faults.strikes("silent", job.uuid):
            self._finish_at_once(job, now_ms)
            return accepted
        if len(self._running) < self._concurrency:
            self._start(job, now_ms)
            return accepted
        self._queue.append(job)
        ahead = len(self._queue) - 1
        told = f"In queue, there are {ahead} tasks ahead"
        return replace(accepted, code=22, description=told, properties=account | {"numberOfQueues": ahead})

    def strand(self, job: Job, now_ms: int) -> Answer:
        """Midjourney does not answer the same U a second time: accepted, paid, and never heard of again."""
        job.task = replace(job.task, status="SUBMITTED", start_time=now_ms)
        self.ledger.bill("action")
        return Answer(code=1, description="Submit success", result=job.task.id)

    def cancel(self, task_id: str, now_ms: int) -> tuple[Message, Job | None]:
        """End a task that has not ended."""
        job = self.jobs.get(task_id)
        if job is None:
            return Message(code=3, description="任务不存在或已失效"), None
        if job.task.status in ENDED:
            return Message(code=4, description="任务状态错误"), None
        job.left.clear()
        job.task = replace(job.task, status="CANCEL", progress="", finish_time=now_ms)
        self._running = [one for one in self._running if one is not job]
        self._queue = deque(one for one in self._queue if one is not job)
        return Message(code=1, description="成功", result=task_id), job

    def advance(self, now_ms: int) -> list[Job]:
        """Let everything happen that is due by now; the jobs it happened to, one entry a change."""
        changed: list[Job] = []
        due = [job for job in self._running if job.left and job.started_ms + job.left[0].after_ms <= now_ms]
        for job in due:
            self._step(job, job.left.popleft(), now_ms)
            changed.append(job)
        self._running = [job for job in self._running if job.left]
        while self._queue and len(self._running) < self._concurrency:
            job = self._queue.popleft()
            self._start(job, now_ms)
            changed.append(job)
        return changed

    def next_due_ms(self) -> float | None:
        """When `advance` has something to do again, or None."""
        due = [job.started_ms + job.left[0].after_ms for job in self._running if job.left]
        return min(due, default=None)

    def waiting(self) -> list[Job]:
        """Those that wait for a place, the first first."""
        return list(self._queue)

    def upscale_of(self, parent: Job, number: int) -> Job | None:
        """The upscale of an image that was made already."""
        for job in self.jobs.values():
            order = job.order
            if order.parent_id == parent.task.id and order.work == "upscale" and order.number == number:
                return job
        return None

    def mark(self, parent: Job, custom_id: str) -> None:
        """Style 3 on the pressed button, before it is known to succeed (Plus 3.7.5)."""
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
        job.left = deque(steps(job.order.work, fails=bool(self._failure(job)), speed=self._speed))
        job.task = replace(job.task, status="SUBMITTED", start_time=now_ms)
        self._running.append(job)
        self.ledger.count_running(len(self._running))

    def _finish_at_once(self, job: Job, now_ms: int) -> None:
        """trueai v11 completes U-presses of official accounts inside the submit, and tells nobody."""
        job.task = replace(job.task, start_time=now_ms)
        self._step(job, steps(job.order.work, fails=False, speed=self._speed)[-1], now_ms)

    def _failure(self, job: Job) -> str:
        if "--fail" in job.order.prompt:
            return "[Invalid parameter] Unrecognized parameter: --fail"
        if self.faults.strikes("failure", job.uuid):
            return _REASONS[int(self.faults.amount("failure", job.uuid) * len(_REASONS))]
        return ""

    def _step(self, job: Job, step: Step, now_ms: int) -> None:
        if step.status == "FAILURE":
            job.task = replace(
                job.task,
                status="FAILURE",
                progress="",
                fail_reason=self._failure(job),
                finish_time=now_ms,
            )
            return
        ended = step.status == "SUCCESS"
        if ended and job.order.work == "upscale":
            self._swap(job)
        order = job.order
        picture = _picture(order, step.percent)
        job.picture = drawing.name_of(picture, job.uuid, len(job.left))
        properties = job.task.properties | {
            "finalPrompt": order.text or order.prompt,
            "messageId": chance.snowflake(job.uuid, len(job.left)),
            "messageContent": self._message(order, step),
        }
        if ended:
            properties["messageHash"] = job.uuid
        width, height = drawing.size_of(picture)
        prompt = order.text if ended and order.work == "describe" else job.task.prompt
        job.task = replace(
            job.task,
            status=step.status,
            progress=f"{step.percent}%",
            prompt=prompt,
            image_width=width if ended else None,
            image_height=height if ended else None,
            finish_time=now_ms if ended else None,
            properties=properties,
            buttons=buttons.buttons_after(order.work, job.uuid, buttons.version_of(order.prompt))
            if ended
            else (),
        )

    def _swap(self, job: Job) -> None:
        """Plus 3.7.5 matches the results of one grid's upscales by their start: the first result goes to another."""
        mine, parent_id = job.order, job.order.parent_id
        for other in self._running:
            theirs = other.order
            if other is job or theirs.work != "upscale" or theirs.parent_id != parent_id:
                continue
            if self.faults.strikes("swap", job.uuid):
                job.order = replace(mine, number=theirs.number, note=theirs.note)
                other.order = replace(theirs, number=mine.number, note=mine.note)
            return

    def _message(self, order: Order, step: Step) -> str:
        user = f"<@{chance.snowflake(self._seed, 'user')}>"
        if step.status != "SUCCESS":
            return f"**{order.prompt}** - {user} ({step.percent}%) (fast)"
        if order.note:
            return f"**{order.prompt}** - {order.note} {user}"
        return f"**{order.prompt}** - {user} (fast)"


def _picture(order: Order, percent: int) -> Picture:
    width, height = drawing.ratio_of(order.prompt)
    return Picture(
        path=order.path, seed=order.scene, percent=percent, width=width, height=height, prompt=order.prompt
    )
