"""Submits about an existing task: buttons, modals, and the changes of servers without buttons."""

from __future__ import annotations

import re

from msgspec.structs import replace

from midjourney.sandbox import buttons, drawing
from midjourney.sandbox.admission import Admission
from midjourney.sandbox.jobs import Job, Order
from midjourney.sandbox.wire import Answer, Body, Properties

_ACTIONS = {"UPSCALE": "upsample", "VARIATION": "variation", "REROLL": "reroll"}


class Presses:
    """Handlers of `action`, `modal`, `change` and `simple-change`."""

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def action(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """Press a button: submits an order, or opens a modal (21) if the button does."""
        custom_id = body.custom_id or ""
        if not body.task_id or not custom_id:
            return Answer(code=4, description="taskId或customId不能为空")
        parent, refusal = self._parent(str(body.task_id))
        if parent is None:
            return refusal
        if custom_id not in {button.custom_id for button in parent.task.buttons}:
            return Answer(code=3, description="关联动作不存在")
        if custom_id.startswith(buttons.BOOKMARK) and self._admission.profile.bookmark_returns_parent:
            return Answer(code=1, description="Submit success", result=parent.task.id)
        press = buttons.press_of(custom_id)
        if press is None or (
            custom_id == buttons.IMAGINE_ALL and not self._admission.profile.has_imagine_all
        ):
            return Answer(code=4, description="不支持的动作")
        if custom_id == buttons.IMAGINE_ALL:
            return self._imagine_all(parent, press, body, now_ms)
        order = self._pressed(parent, press, custom_id, body)
        if press.opens_modal or (press.opens_modal_with_remix and body.enable_remix):
            return self._open_modal(parent, order, custom_id, now_ms)
        answer = self._admission.submit_prompt("action", self._answered_once(parent, order), now_ms)
        if answer.code in (1, 22):
            self._admission.engine.mark_pressed(parent, custom_id)
        return answer

    def _imagine_all(self, parent: Job, press: buttons.Press, body: Body, now_ms: int) -> Answer:
        """ "Imagine all": four tasks, with ids joined by commas and numbered states (trueai v11)."""
        answers = []
        for number in range(1, 5):
            order = self._pressed(parent, press, f"MJ::Job::PicReader::{number}", body)
            marked = None if order.state is None else f"{order.state}::{number}"
            answers.append(self._admission.submit_prompt("action", replace(order, state=marked), now_ms))
        ids = [str(answer.result) for answer in answers if answer.result]
        if not ids:
            return answers[0]
        return Answer(code=1, description="Submit success", result=",".join(ids))

    def modal(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """Answer a modal. The job runs under the modal's own id. Until it has started, a second answer is accepted and billed."""
        job = self._admission.engine.find(str(body.task_id or ""))
        if not body.task_id:
            return Answer(code=4, description="taskId不能为空")
        if job is None:
            return self._parent("")[1]
        if job.task.status != "MODAL":
            return Answer(code=4, description="任务状态错误")
        press = buttons.press_of(job.custom_id)
        if press is not None and press.needs_mask and not self._admission.is_image(body.mask_base64 or ""):
            return Answer(code=4, description="蒙版base64不能为空")
        if self._admission.engine.is_full:
            return self.reject_modal(job)
        prompt = (body.prompt or "").strip()
        if prompt:
            job.order = replace(job.order, prompt=prompt)
            job.task = replace(job.task, prompt=prompt, prompt_en=prompt)
        return self._admission.engine.accept("modal", job, now_ms)

    def reject_modal(self, job: Job | None) -> Answer:
        """Refuse because the queue is full. Servers that answer 23 also delete the modal that was answered."""
        if job is not None and self._admission.profile.queue_full == 23:
            self._admission.engine.jobs.pop(job.task.id, None)
        return self._admission.engine.queue_full_answer()

    def change(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """U, V and R. For an existing upscale, novicezk answered 21 with its id until March 2024."""
        index, action = body.index or 0, body.action or ""
        if not body.task_id:
            return Answer(code=4, description="taskId不能为空")
        if action not in _ACTIONS or (action != "REROLL" and not 1 <= index <= 4):
            return Answer(code=4, description="action参数错误")
        parent, refusal = self._parent(str(body.task_id))
        if parent is None:
            return refusal
        upscales = self._admission.engine.upscales_of(parent, index) if action == "UPSCALE" else []
        if upscales and self._admission.profile.returns_existing:
            existing = upscales[0]
            shown: Properties = {"status": existing.task.status, "imageUrl": existing.task.image_url}
            return Answer(code=21, description="任务已存在", result=existing.task.id, properties=shown)
        wanted = f"MJ::JOB::{_ACTIONS[action]}::{0 if action == 'REROLL' else index}::{parent.uuid}"
        known = [button.custom_id for button in parent.task.buttons if button.custom_id.startswith(wanted)]
        press = buttons.press_of(known[0]) if known else None
        if press is None:
            return Answer(code=4, description="关联任务不允许执行变化")
        order = self._pressed(parent, press, known[0], body)
        letter = "R" if action == "REROLL" else f"{action[0]}{index}"
        order = replace(order, action=action, description=f"/up {parent.task.id} {letter}")
        return self._admission.submit_prompt("change", self._answered_once(parent, order), now_ms)

    def simple_change(self, body: Body, base_url: str, now_ms: int) -> Answer:
        """A change in one line: "<task id> U2"."""
        match = re.fullmatch(r"(\S+) ([UVR])([1-4]?)", (body.content or "").strip())
        if match is None:
            return Answer(code=4, description="content参数错误")
        action = {"U": "UPSCALE", "V": "VARIATION", "R": "REROLL"}[match[2]]
        return self.change(
            replace(body, task_id=match[1], action=action, index=int(match[3] or 0)), base_url, now_ms
        )

    def _answered_once(self, parent: Job, order: Order) -> Order:
        """The order, marked if it repeats an upscale: Midjourney does not respond to a second press of the same U button, and
        the task fails when its time is up (issue 76 of novicezk/midjourney-proxy). A press that failed at once has not reached
        Midjourney: Discord had refused it."""
        if order.work != "upscale":
            return order
        before = self._admission.engine.upscales_of(parent, order.number)
        return replace(order, is_unanswered=any(not self._was_refused(job) for job in before))

    def _was_refused(self, job: Job) -> bool:
        return job.task.status == "FAILURE" and job.task.fail_reason != self._admission.profile.timed_out

    def _parent(self, task_id: str) -> tuple[Job | None, Answer]:
        parent = self._admission.engine.find(task_id)
        if self._admission.profile.refuses_with_400:
            return self._stored_parent(parent)
        if parent is None:
            return None, Answer(code=3, description="关联任务不存在或已失效")
        if parent.task.status != "SUCCESS":
            return None, Answer(code=4, description="关联任务状态错误")
        return parent, Answer(code=1, description="")

    def _stored_parent(self, parent: Job | None) -> tuple[Job | None, Answer]:
        """new-api looks at its own record of the parent, which can be 15 s old (`relay/relay-mj.go`)."""
        if parent is None:
            return None, Answer(code=4, description="task_not_found")
        if self._admission.engine.news.of(parent).status != "SUCCESS":
            return None, Answer(code=4, description="task_status_not_success")
        return parent, Answer(code=1, description="")

    def _open_modal(self, parent: Job, order: Order, custom_id: str, now_ms: int) -> Answer:
        job = self._admission.engine.create(order, now_ms)
        job.custom_id = custom_id
        job.task = replace(job.task, status="MODAL")
        self._admission.engine.mark_pressed(parent, custom_id)
        # trueai answers an Inpaint without its prompt (its issue 59).
        empty = self._admission.profile.shape == "tru" and custom_id.startswith("MJ::Inpaint")
        properties: Properties = {"finalPrompt": "" if empty else order.prompt, "remix": True}
        if self._admission.profile.shape == "go":
            properties = {}
        return Answer(
            code=21,
            description=self._admission.profile.modal_description,
            result=job.task.id,
            properties=properties,
        )

    def _pressed(self, parent: Job, press: buttons.Press, custom_id: str, body: Body) -> Order:
        number = buttons.image_number(custom_id)
        work = press.work or parent.order.work
        named = [button for button in parent.task.buttons if button.custom_id == custom_id]
        label = named[0].emoji + named[0].label if named else ""
        prompt = str(parent.task.properties.get("finalPrompt") or parent.task.prompt)
        if parent.order.work in ("describe", "shorten"):
            prompt = _choice(parent.order.text, number) or parent.order.prompt or "a picture"
        # A reroll has a new picture, and a text has none; every other press continues the parent's picture.
        continues = parent.order.work not in ("describe", "shorten") and press.work is not None
        return Order(
            action=press.action or parent.task.action,
            work=work,
            prompt=prompt,
            text=parent.order.text if work in ("describe", "shorten") else "",
            description=f"/up {parent.task.id} {label}",
            base_url=parent.order.base_url,
            number=number if work == "upscale" else parent.order.number if work == "enhance" else 0,
            scene=parent.order.scene if continues else 0,
            path=drawing.child_path(parent.order.path, min(number, 4), work) if continues else "",
            note=press.note.format(number=number),
            parent_id=parent.task.id,
            bot_type=parent.order.bot_type,
            state=body.state,
            notify_hook=body.notify_hook,
            mode=(body.mode or "FAST").upper(),
        )


def _choice(text: str, number: int) -> str:
    mark = f"{number}\ufe0f\u20e3 "
    return next((line.removeprefix(mark) for line in text.splitlines() if line.startswith(mark)), "")
