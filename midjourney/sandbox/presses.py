"""What is done with a task that is there: its buttons, its window, and the changes of servers without buttons."""

from __future__ import annotations

import re

from msgspec.structs import replace

from midjourney.sandbox import buttons, drawing
from midjourney.sandbox.desk import Desk
from midjourney.sandbox.engine import Job, Order
from midjourney.sandbox.wire import Answer, Body, Properties

_ACTIONS = {"UPSCALE": "upsample", "VARIATION": "variation", "REROLL": "reroll"}


class Presses:
    """Handlers of `action`, `modal`, `change` and `simple-change`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def action(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """A button: an order of its own, or a window (21) for those that open one."""
        custom_id = body.custom_id or ""
        if not body.task_id or not custom_id:
            return Answer(code=4, description="taskId或customId不能为空")
        parent, refusal = self._parent(str(body.task_id))
        if parent is None:
            return refusal
        if custom_id not in {button.custom_id for button in parent.task.buttons}:
            return Answer(code=3, description="关联动作不存在")
        if custom_id.startswith(buttons.BOOKMARK) and self._desk.manner.bookmark_is_parent:
            return Answer(code=1, description="Submit success", result=parent.task.id)
        press = buttons.meaning(custom_id)
        if press is None or (custom_id == buttons.READ_ALL and not self._desk.manner.reads_all):
            return Answer(code=4, description="不支持的动作")
        if custom_id == buttons.READ_ALL:
            return self._read_all(parent, press, body, now_ms)
        order = self._pressed(parent, press, custom_id, body)
        if press.window or (press.remixed and body.enable_remix):
            return self._open_window(parent, order, custom_id, now_ms)
        if press.work == "upscale" and self._desk.engine.upscale_of(parent, order.number) is not None:
            answer = self._desk.engine.strand(self._desk.engine.new(order, now_ms), now_ms)
        else:
            answer = self._desk.prompted("action", order, now_ms)
        if answer.code in (1, 22):
            self._desk.engine.mark(parent, custom_id)
        return answer

    def _read_all(self, parent: Job, press: buttons.Press, body: Body, now_ms: int) -> Answer:
        """ "Imagine all": four tasks, their ids joined by commas, states numbered (trueai v11)."""
        answers = []
        for number in range(1, 5):
            order = self._pressed(parent, press, f"MJ::Job::PicReader::{number}", body)
            marked = None if order.state is None else f"{order.state}::{number}"
            answers.append(self._desk.prompted("action", replace(order, state=marked), now_ms))
        ids = [str(answer.result) for answer in answers if answer.result]
        if not ids:
            return answers[0]
        return Answer(code=1, description="Submit success", result=",".join(ids))

    def modal(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """It runs under the window's own id; until it has started, a second answer is taken too, and billed."""
        job = self._desk.engine.jobs.get(str(body.task_id or ""))
        if not body.task_id:
            return Answer(code=4, description="taskId不能为空")
        if job is None:
            return Answer(code=3, description="任务不存在或已失效")
        if job.task.status != "MODAL":
            return Answer(code=4, description="任务状态错误")
        press = buttons.meaning(job.custom_id)
        if press is not None and press.needs_mask and not self._desk.is_image(body.mask_base64 or ""):
            return Answer(code=4, description="蒙版base64不能为空")
        if self._desk.engine.is_full:
            return self.lose_window(job)
        prompt = (body.prompt or "").strip()
        if prompt:
            job.order = replace(job.order, prompt=prompt)
            job.task = replace(job.task, prompt=prompt, prompt_en=prompt)
        return self._desk.engine.accept("modal", job, now_ms)

    def lose_window(self, job: Job | None) -> Answer:
        """A full queue; where it is told by 23, the window that was answered is deleted with it."""
        if job is not None and self._desk.manner.queue_full == 23:
            self._desk.engine.jobs.pop(job.task.id, None)
        return self._desk.engine.full()

    def change(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """U, V and R. An upscale that exists is answered 21 with its id by novicezk until March 2024."""
        index, action = body.index or 0, body.action or ""
        if not body.task_id:
            return Answer(code=4, description="taskId不能为空")
        if action not in _ACTIONS or (action != "REROLL" and not 1 <= index <= 4):
            return Answer(code=4, description="action参数错误")
        parent, refusal = self._parent(str(body.task_id))
        if parent is None:
            return refusal
        existing = self._desk.engine.upscale_of(parent, index) if action == "UPSCALE" else None
        if existing is not None and self._desk.manner.existed:
            shown: Properties = {"status": existing.task.status, "imageUrl": existing.task.image_url}
            return Answer(code=21, description="任务已存在", result=existing.task.id, properties=shown)
        wanted = f"MJ::JOB::{_ACTIONS[action]}::{0 if action == 'REROLL' else index}::{parent.uuid}"
        known = [button.custom_id for button in parent.task.buttons if button.custom_id.startswith(wanted)]
        press = buttons.meaning(known[0]) if known else None
        if press is None:
            return Answer(code=4, description="关联任务不允许执行变化")
        order = self._pressed(parent, press, known[0], body)
        letter = "R" if action == "REROLL" else f"{action[0]}{index}"
        order = replace(order, action=action, description=f"/up {parent.task.id} {letter}")
        return self._desk.prompted("change", order, now_ms)

    def simple_change(self, body: Body, base_url: str, now_ms: int) -> Answer:
        """A change in one line: "<task id> U2"."""
        found = re.fullmatch(r"(\S+) ([UVR])([1-4]?)", (body.content or "").strip())
        if found is None:
            return Answer(code=4, description="content参数错误")
        action = {"U": "UPSCALE", "V": "VARIATION", "R": "REROLL"}[found[2]]
        return self.change(
            replace(body, task_id=found[1], action=action, index=int(found[3] or 0)), base_url, now_ms
        )

    def _parent(self, task_id: str) -> tuple[Job | None, Answer]:
        parent = self._desk.engine.jobs.get(task_id)
        if parent is None:
            return None, Answer(code=3, description="关联任务不存在或已失效")
        if parent.task.status != "SUCCESS":
            return None, Answer(code=4, description="关联任务状态错误")
        return parent, Answer(code=1, description="")

    def _open_window(self, parent: Job, order: Order, custom_id: str, now_ms: int) -> Answer:
        job = self._desk.engine.new(order, now_ms)
        job.custom_id = custom_id
        job.task = replace(job.task, status="MODAL")
        self._desk.engine.mark(parent, custom_id)
        # trueai's Inpaint comes without its prompt (its issue 59).
        empty = self._desk.manner.shape == "tru" and custom_id.startswith("MJ::Inpaint")
        properties: Properties = {"finalPrompt": "" if empty else order.prompt, "remix": True}
        if self._desk.manner.shape == "go":
            properties = {}
        return Answer(
            code=21, description=self._desk.manner.window_words, result=job.task.id, properties=properties
        )

    def _pressed(self, parent: Job, press: buttons.Press, custom_id: str, body: Body) -> Order:
        number = buttons.index(custom_id)
        work = press.work or parent.order.work
        named = [button for button in parent.task.buttons if button.custom_id == custom_id]
        label = named[0].emoji + named[0].label if named else ""
        prompt = str(parent.task.properties.get("finalPrompt") or parent.task.prompt)
        if parent.order.work in ("describe", "shorten"):
            prompt = _choice(parent.order.text, number) or parent.order.prompt or "a picture"
        # A reroll starts anew, and a text is no picture; all else grows from what the parent shows.
        seen = parent.order.work not in ("describe", "shorten") and press.work is not None
        return Order(
            action=press.action or parent.task.action,
            work=work,
            prompt=prompt,
            text=parent.order.text if work in ("describe", "shorten") else "",
            description=f"/up {parent.task.id} {label}",
            base_url=parent.order.base_url,
            number=number if work == "upscale" else parent.order.number if work == "enhance" else 0,
            scene=parent.order.scene if seen else 0,
            path=drawing.grown(parent.order.path, min(number, 4), work) if seen else "",
            note=press.note.format(number=number),
            parent_id=parent.task.id,
            bot_type=parent.order.bot_type,
            state=body.state,
            notify_hook=body.notify_hook,
        )


def _choice(text: str, number: int) -> str:
    mark = f"{number}\ufe0f\u20e3 "
    return next((line.removeprefix(mark) for line in text.splitlines() if line.startswith(mark)), "")
