"""Takes submits as Plus does: sections a and b of the protocol notes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from tests.hostile import shapes
from tests.hostile.clock import Timer
from tests.hostile.ledger import Ledger, Request, Submit
from tests.hostile.losing import Loss
from tests.hostile.manners import Manners
from tests.hostile.shapes import Json
from tests.hostile.tasks import Shelf, Task

Trouble = Literal["none", "429", "dropped", "unpaid 502", "unpaid silence", "queue full", "banned"] | Loss
"""What can become of a submit: nothing bad; refused for its rate; never taken, and the connection is closed, a gateway says 502,
or nobody says anything; refused since the queue is full (23); refused for its words (24); or taken, and the answer is lost in
one of the ways of `Loss`."""

TAKEN: tuple[Trouble | None, ...] = (None, "none", "lost", "closed", "reset", "502", "504", "silence")

WITH_A_PROMPT = {"imagine": "IMAGINE", "shorten": "SHORTEN"}
WITH_AN_IMAGE = {"blend": "BLEND", "describe": "DESCRIBE", "retexture": "RETEXTURE"}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The envelope, and the task that it is about: one that is paid now, or a window."""

    envelope: Json
    task: Task | None = None
    is_paid: bool = False
    begins: bool = False
    """Whether its work begins now; one that waits for a place begins later."""
    custom_id: str = ""


def _no(code: int, description: str) -> Answer:
    return Answer(envelope={"code": code, "description": description, "result": None, "properties": {}})


class Desk:
    """One for an upstream. `troubles` is what becomes of the next submits, by the end of their path ("" is any)."""

    def __init__(self, shelf: Shelf, ledger: Ledger, clock: Timer) -> None:
        self._shelf, self._ledger, self._clock = shelf, ledger, clock
        self.troubles: list[tuple[str, Trouble]] = []
        self.chance: Callable[[str], Trouble | None] = lambda _kind: None
        """What becomes of those that nothing is planned for, by the end of their path."""

    def take(self, request: Request, trouble: Trouble | None, manners: Manners) -> Answer:
        """Decide about one submit, and write it into the ledger."""
        body: Json = request.body if isinstance(request.body, dict) else {}
        kind = request.kind
        with self._shelf.lock:
            if trouble in TAKEN:
                answer = self._decide(kind, body, manners)
            else:
                answer = self._refuse(trouble, kind, body, manners)
            self._ledger.see_open([task.id for task in self._shelf.all() if task.is_open])
        self._ledger.add_submit(
            Submit(
                at_s=self._clock.now_s(),
                path=request.path,
                body=body,
                has_key=request.has_key,
                code=answer.envelope["code"],
                task_id=answer.task.front_id if answer.task else "",
                custom_id=answer.custom_id,
                is_paid=answer.is_paid,
            )
        )
        return answer

    def trouble_of(self, kind: str) -> Trouble | None:
        """What becomes of this submit; it is planned for one only."""
        with self._shelf.lock:
            for planned in self.troubles:
                if planned[0] in ("", kind):
                    self.troubles.remove(planned)
                    return planned[1]
            return self.chance(kind)

    def _refuse(self, trouble: Trouble | None, kind: str, body: Json, manners: Manners) -> Answer:
        if trouble == "queue full":
            window = self._shelf.find(str(body.get("taskId")), manners) if kind == "modal" else None
            return self._full(window)
        if trouble == "banned":
            no = _no(24, "可能包含敏感词")
            return Answer(
                envelope=no.envelope | {"properties": {"promptEn": body.get("prompt"), "bannedWord": "cat"}}
            )
        return _no(0, "too many requests" if trouble == "429" else "never came so far")

    def _full(self, window: Task | None) -> Answer:
        if window is not None:
            self._shelf.remove(window)
        return _no(23, "提交失败，队列已满，请稍后重试")

    def _decide(self, kind: str, body: Json, manners: Manners) -> Answer:
        prompt = str(body.get("prompt") or "")
        if kind in WITH_A_PROMPT:
            origin = f"/{kind} {prompt}"
            return (
                self._new(kind, WITH_A_PROMPT[kind], prompt, origin, body, manners)
                if prompt
                else _no(4, "prompt不能为空")
            )
        if kind in WITH_AN_IMAGE:
            if not (body.get("base64Array") or body.get("base64") or body.get("image")):
                return _no(4, "base64不能为空")
            return self._new(kind, WITH_AN_IMAGE[kind], prompt, f"/{kind} image.png", body, manners)
        if kind == "show":
            return self._new(kind, "SHOW", prompt, f"/show {body.get('jobId')}", body, manners)
        if kind == "action":
            return self._press(kind, body, str(body.get("customId") or ""), manners)
        if kind == "change":
            return self._change(body, manners)
        return self._answer_window(body, prompt, manners) if kind == "modal" else _no(4, "不支持的动作")

    def _new(self, kind: str, action: str, prompt: str, origin: str, body: Json, manners: Manners) -> Answer:
        return self._admit(self._made(kind, action, prompt, origin, body, manners), manners)

    def _made(self, kind: str, action: str, prompt: str, origin: str, body: Json, manners: Manners) -> Task:
        hook = str(body.get("notifyHook") or "")
        task = self._shelf.make(manners, action=action, prompt=prompt, origin=origin, hook=hook, kind=kind)
        task.state = body.get("state")
        return self._shelf.add(task)

    def _admit(self, task: Task, manners: Manners) -> Answer:
        """A job begins, waits for its place, or is refused and forgotten: a window too."""
        if manners.jobs is None:
            return Answer(envelope=_yes(task), task=task, is_paid=True, begins=True)
        waiting = self._shelf.jobs("waits")
        if not waiting and len(self._shelf.jobs("runs")) < manners.jobs:
            task.place = "runs"
            return Answer(envelope=_yes(task), task=task, is_paid=True, begins=True)
        if len(waiting) >= manners.queue:
            return self._full(task)
        task.place = "waits"
        return Answer(envelope=_yes(task, before=len(waiting) + 1), task=task, is_paid=True)

    def _change(self, body: Json, manners: Manners) -> Answer:
        parent = self._shelf.find(str(body.get("taskId")), manners)
        verb = {"UPSCALE": "upsample", "VARIATION": "variation", "REROLL": "reroll"}.get(
            str(body.get("action"))
        )
        if parent is None or verb is None:
            return _no(3 if parent is None else 4, "关联任务不存在或已失效" if parent is None else "参数错误")
        start = f"MJ::JOB::{verb}::{body.get('index') or 0}::"
        shown = next((shown for shown, true in parent.meaning.items() if true.startswith(start)), "")
        return self._press("change", body, shown, manners)

    def _press(self, kind: str, body: Json, shown: str, manners: Manners) -> Answer:
        parent = self._shelf.find(str(body.get("taskId")), manners)
        if parent is None:
            return _no(3, "关联任务不存在或已失效")
        if parent.status != "SUCCESS":
            return _no(4, "关联任务状态错误")
        custom_id = parent.meaning.get(shown, "")
        if not custom_id:
            return _no(3, "关联动作不存在")
        if "BOOKMARK" in custom_id or custom_id.endswith("PicReader::all"):
            return _no(4, "不支持的动作")
        action = shapes.action_of(custom_id, parent.action)
        label = next(one["emoji"] + one["label"] for one in parent.buttons if one["customId"] == shown)
        parent.press(shown)
        task = self._made(kind, action, parent.prompt, f"/up {parent.id} {label}", body, manners)
        task.parent_id, task.custom_id = parent.id, custom_id
        if not shapes.opens_a_window(custom_id):
            return replace(self._admit(task, manners), custom_id=custom_id)
        task.status = "MODAL"
        properties: Json = {"remix": False}
        if manners.windows_say_prompt:
            properties["finalPrompt"] = shapes.texts_of("IMAGINE", parent.prompt)
        asks = {
            "code": 21,
            "description": "等待窗口确认",
            "result": task.front_id,
            "properties": properties,
        }
        return Answer(envelope=asks, task=task, custom_id=custom_id)

    def _answer_window(self, body: Json, prompt: str, manners: Manners) -> Answer:
        task = self._shelf.find(str(body.get("taskId")), manners)
        if task is None:
            return _no(3, "任务不存在或已失效")
        if task.status != "MODAL":
            return _no(4, "任务状态错误")
        if "Inpaint" in task.custom_id and not body.get("maskBase64"):
            return _no(4, "蒙版base64不能为空")
        answer = self._admit(task, manners)
        task.prompt = prompt or task.prompt
        # While it waits for its place it is still a window, and a second answer is taken and paid as well.
        task.status = "NOT_START" if answer.begins else "MODAL"
        return replace(answer, custom_id=task.custom_id)


def _yes(task: Task, *, before: int = 0) -> Json:
    properties: Json = {"discordInstanceId": "1118138338562560102"}
    if before:
        properties["numberOfQueues"] = before
    return {
        "code": 22 if before else 1,
        "description": f"排队中，前面还有{before}个任务" if before else "提交成功",
        "result": task.front_id,
        "properties": properties,
    }
