"""The server's mind: which tasks there are, which run, and what each submit is answered. Pure: time is an argument."""

from __future__ import annotations

import re
from collections import deque

import msgspec
from msgspec.structs import replace

from midjourney.sandbox import buttons, chance, drawing
from midjourney.sandbox.drawing import Picture
from midjourney.sandbox.ledger import Ledger
from midjourney.sandbox.timetable import Step, steps
from midjourney.sandbox.wire import Answer, Message, Properties, Task

BANNED_WORDS = ("nude",)
_EPOCH_MS = 1_700_000_000_000
"""Where ids begin when a seed is given."""


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """A job as it is asked for. `number` is the image it shows, 0 for none; `hue` its colour in degrees."""

    action: str
    work: str
    prompt: str
    description: str
    base_url: str
    state: str | None = None
    notify_hook: str | None = None
    bot_type: str = "MID_JOURNEY"
    number: int = 0
    hue: int = 0
    note: str = ""
    parent_id: str = ""


class Job:
    """A task and what the server knows beside it."""

    def __init__(self, task: Task, order: Order, uuid: str) -> None:
        self.task = task
        self.order = order
        self.uuid = uuid
        self.custom_id = ""
        self.started_ms = 0
        self.left: deque[Step] = deque()


class Engine:
    """One account: `concurrency` jobs run at once, `queue` more may wait."""

    def __init__(self, *, seed: int | None, now_ms: int, speed: float, concurrency: int, queue: int) -> None:
        self._seeded = seed is not None
        self._seed = now_ms if seed is None else seed
        self._speed = speed
        self._concurrency = concurrency
        self._queue_size = queue
        self._count = 0
        self._running: list[Job] = []
        self._queue: deque[Job] = deque()
        self.jobs: dict[str, Job] = {}
        self.ledger = Ledger()

    def submit(self, kind: str, order: Order, now_ms: int) -> Answer:
        """A new job: 1 when it runs, 22 when it waits, 23 when there is no place, 4 and 24 for its prompt."""
        if not order.prompt.strip():
            return Answer(code=4, description="prompt cannot be empty")
        for word in BANNED_WORDS:
            if re.search(rf"\b{word}\b", order.prompt, re.IGNORECASE):
                properties = {"promptEn": order.prompt, "bannedWord": word}
                return Answer(code=24, description="May contain sensitive words", properties={**properties})
        if len(self._running) >= self._concurrency and len(self._queue) >= self._queue_size:
            return _queue_full()
        return self._accept(kind, self._new(order, now_ms), now_ms)

    def press(self, task_id: str, custom_id: str, order_fields: dict[str, str | None], now_ms: int) -> Answer:
        """A button: an order of its own, or a window (21) for those that open one."""
        parent = self.jobs.get(task_id)
        if parent is None:
            return Answer(code=3, description="关联任务不存在或已失效")
        if parent.task.status != "SUCCESS":
            return Answer(code=4, description="关联任务状态错误")
        if custom_id not in {button.custom_id for button in parent.task.buttons}:
            return Answer(code=3, description="关联动作不存在")
        press = buttons.meaning(custom_id)
        if press is None:
            return Answer(code=4, description="不支持的动作")
        order = self._pressed(parent, press, custom_id, order_fields)
        if press.window:
            return self._open_window(parent, order, custom_id, now_ms)
        silent = press.work == "upscale" and self._upscale_of(parent, order.number) is not None
        answer = self._accept_silently(order, now_ms) if silent else self.submit("action", order, now_ms)
        if answer.code in (1, 22):
            self._mark(parent, custom_id)
        return answer

    def answer_window(self, task_id: str, prompt: str, mask: str, now_ms: int) -> Answer:
        """A modal. It runs under the window's own id; until it has started, a second answer is taken too, and billed."""
        job = self.jobs.get(task_id)
        if job is None:
            return Answer(code=3, description="任务不存在或已失效")
        if job.task.status != "MODAL":
            return Answer(code=4, description="任务状态错误")
        press = buttons.meaning(job.custom_id)
        if press is not None and press.needs_mask and not mask:
            return Answer(code=4, description="蒙版base64不能为空")
        if len(self._running) >= self._concurrency and len(self._queue) >= self._queue_size:
            del self.jobs[task_id]
            return _queue_full()
        if prompt.strip():
            job.order = replace(job.order, prompt=prompt)
            job.task = replace(job.task, prompt=prompt, prompt_en=prompt)
        return self._accept("modal", job, now_ms)

    def change(
        self, task_id: str, action: str, index: int, order_fields: dict[str, str | None], now_ms: int
    ) -> Answer:
        """U, V and R of servers without buttons. An upscale that exists is answered 21 with its id (novicezk to 2024)."""
        parent = self.jobs.get(task_id)
        if parent is None:
            return Answer(code=3, description="关联任务不存在或已失效")
        if parent.task.status != "SUCCESS":
            return Answer(code=4, description="关联任务状态错误")
        verb = {"UPSCALE": "upsample", "VARIATION": "variation", "REROLL": "reroll"}.get(action)
        wanted = f"MJ::JOB::{verb}::{index if verb != 'reroll' else 0}::{parent.uuid}"
        known = [button.custom_id for button in parent.task.buttons if button.custom_id.startswith(wanted)]
        press = buttons.meaning(known[0]) if known else None
        if press is None:
            return Answer(code=4, description="action参数错误")
        existing = self._upscale_of(parent, index) if action == "UPSCALE" else None
        if existing is not None:
            shown = {"status": existing.task.status, "imageUrl": existing.task.image_url}
            return Answer(code=21, description="任务已存在", result=existing.task.id, properties={**shown})
        return self.submit("change", self._pressed(parent, press, known[0], order_fields), now_ms)

    def cancel(self, task_id: str, now_ms: int) -> tuple[Message, Job | None]:
        """End a task that has not ended."""
        job = self.jobs.get(task_id)
        if job is None:
            return Message(code=3, description="任务不存在或已失效"), None
        if job.task.status in ("SUCCESS", "FAILURE", "CANCEL"):
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

    def _new(self, order: Order, now_ms: int) -> Job:
        self._count += 1
        at_ms = _EPOCH_MS + self._count * 1000 if self._seeded else now_ms
        digits = (chance.number(self._seed, "id") + self._count) % 1000
        while (task_id := f"{at_ms}{digits:03d}") in self.jobs:
            digits = (digits + 1) % 1000
        uuid = chance.uuid(self._seed, self._count)
        properties = {
            "notifyHook": order.notify_hook,
            "discordInstanceId": chance.snowflake(self._seed, "instance"),
            "discordChannelId": chance.snowflake(self._seed, "channel"),
            "botType": order.bot_type,
            "nonce": chance.snowflake(self._seed, "nonce", self._count),
            "flags": 0,
        }
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
        if not order.number and not order.hue:
            order = replace(order, hue=chance.number(self._seed, "hue", self._count) % 360)
        job = Job(task, order, uuid)
        self.jobs[task_id] = job
        return job

    def _accept(self, kind: str, job: Job, now_ms: int) -> Answer:
        self.ledger.bill(kind)
        account = {key: job.task.properties[key] for key in ("discordInstanceId", "discordChannelId")}
        if len(self._running) < self._concurrency:
            self._start(job, now_ms)
            return Answer(code=1, description="Submit success", result=job.task.id, properties=account)
        self._queue.append(job)
        ahead = len(self._queue) - 1
        return Answer(
            code=22,
            description=f"In queue, there are {ahead} tasks ahead",
            result=job.task.id,
            properties=account | {"numberOfQueues": ahead},
        )

    def _accept_silently(self, order: Order, now_ms: int) -> Answer:
        """Midjourney does not answer the same U a second time: accepted, paid, and never heard of again."""
        job = self._new(order, now_ms)
        job.task = replace(job.task, status="SUBMITTED", start_time=now_ms)
        self.ledger.bill("action")
        return Answer(code=1, description="Submit success", result=job.task.id)

    def _open_window(self, parent: Job, order: Order, custom_id: str, now_ms: int) -> Answer:
        job = self._new(order, now_ms)
        job.custom_id = custom_id
        job.task = replace(job.task, status="MODAL")
        self._mark(parent, custom_id)
        properties: Properties = {"finalPrompt": order.prompt, "remix": True}
        return Answer(code=21, description="等待窗口确认", result=job.task.id, properties=properties)

    def _pressed(
        self, parent: Job, press: buttons.Press, custom_id: str, order_fields: dict[str, str | None]
    ) -> Order:
        number = buttons.index(custom_id)
        work = press.work or parent.order.work
        label = next(
            button.emoji + button.label for button in parent.task.buttons if button.custom_id == custom_id
        )
        return Order(
            action=press.action or parent.task.action,
            work=work,
            prompt=str(parent.task.properties.get("finalPrompt") or parent.task.prompt),
            description=f"/up {parent.task.id} {label}",
            base_url=parent.order.base_url,
            number=number if work == "upscale" else parent.order.number if work == "enhance" else 0,
            hue=drawing.tile_hue(parent.order.work, parent.order.hue, number) or 1,
            note=press.note.format(number=number),
            parent_id=parent.task.id,
            state=order_fields.get("state"),
            notify_hook=order_fields.get("notify_hook"),
        )

    def _upscale_of(self, parent: Job, number: int) -> Job | None:
        for job in self.jobs.values():
            order = job.order
            if order.parent_id == parent.task.id and order.work == "upscale" and order.number == number:
                return job
        return None

    def _mark(self, parent: Job, custom_id: str) -> None:
        """Style 3 on the pressed button, before it is known to succeed (Plus 3.7.5)."""
        pressed = (
            replace(button, style=3) if button.custom_id == custom_id else button
            for button in parent.task.buttons
        )
        parent.task = replace(parent.task, buttons=tuple(pressed))

    def _start(self, job: Job, now_ms: int) -> None:
        fails = "--fail" in job.order.prompt
        job.started_ms = now_ms
        job.left = deque(steps(job.order.work, fails=fails, speed=self._speed))
        job.task = replace(job.task, status="SUBMITTED", start_time=now_ms)
        self._running.append(job)
        self.ledger.count_running(len(self._running))

    def _step(self, job: Job, step: Step, now_ms: int) -> None:
        if step.status == "FAILURE":
            job.task = replace(
                job.task,
                status="FAILURE",
                progress="",
                fail_reason="[Invalid parameter] Unrecognized parameter: --fail",
                finish_time=now_ms,
            )
            return
        order, ended = job.order, step.status == "SUCCESS"
        picture = Picture(work=order.work, hue=order.hue, number=order.number, percent=step.percent)
        name = drawing.name_of(picture, job.uuid, len(job.left))
        properties = job.task.properties | {
            "finalPrompt": order.prompt,
            "messageId": chance.snowflake(job.uuid, len(job.left)),
            "messageContent": self._message(order, step),
        }
        if ended:
            properties["messageHash"] = job.uuid
        job.task = replace(
            job.task,
            status=step.status,
            progress=f"{step.percent}%",
            image_url=f"{order.base_url}/mj/image/{name}.png",
            image_width=drawing.SIZE if ended else None,
            image_height=drawing.SIZE if ended else None,
            finish_time=now_ms if ended else None,
            properties=properties,
            buttons=buttons.buttons_after(order.work, job.uuid) if ended else (),
        )

    def _message(self, order: Order, step: Step) -> str:
        user = f"<@{chance.snowflake(self._seed, 'user')}>"
        if step.status != "SUCCESS":
            return f"**{order.prompt}** - {user} ({step.percent}%) (fast)"
        return (
            f"**{order.prompt}** - {order.note} {user}"
            if order.note
            else f"**{order.prompt}** - {user} (fast)"
        )


def _queue_full() -> Answer:
    return Answer(code=23, description="队列已满，请稍后尝试")
