"""What each submit is answered: its fields checked as the real servers check them, in the order in which they do."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable

from msgspec.structs import replace

from midjourney.sandbox import buttons, chance, drawing
from midjourney.sandbox.engine import Engine, Job, Order
from midjourney.sandbox.wire import Answer, Body, Properties

BANNED_WORDS = ("nude",)
_ACTIONS = {"UPSCALE": "upsample", "VARIATION": "variation", "REROLL": "reroll"}
_DESCRIBED = (
    "1️⃣ a quiet harbour at dawn, watercolour --ar 1:1\n\n2️⃣ paper cut mountains under two moons --ar 1:1\n\n"
    "3️⃣ a small robot gardener, studio light --ar 1:1\n\n4️⃣ northern lights over a frozen lake --ar 1:1"
)


class Submits:
    """Handlers for every submit, by path. `window` of the last answer is the customId that opened a window."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._manner = engine.manner
        self.by_path: dict[str, Callable[[Body, str, int], Answer]] = {
            "submit/imagine": self._imagine,
            "submit/action": self._action,
            "submit/modal": self._modal,
            "submit/change": self._change,
            "submit/simple-change": self._simple_change,
            "submit/blend": self._blend,
            "submit/describe": self._describe,
            "submit/shorten": self._shorten,
            "submit/edits": self._edit,
            "submit/edit": self._edit,
            "submit/retexture": self._edit,
            "submit/video": self._video,
            "submit/show": self._show,
            "submit/upload-discord-images": self._upload,
            "insight-face/swap": self._swap,
            "insight-face/video-swap": self._video_swap,
        }

    def _imagine(self, body: Body, base_url: str, now_ms: int) -> Answer:
        prompt = body.prompt or ""
        images = [*(body.base64_array or []), *([body.base64] if body.base64 else [])]
        if self._manner.one_image:
            images = images[-1:] if body.base64 else []
        if any(not self._is_image(image) for image in images):
            return Answer(code=4, description="base64格式错误")
        order = _order(
            body, base_url, action="IMAGINE", work="imagine", prompt=prompt, told=f"/imagine {prompt}"
        )
        return self._prompted("imagine", order, now_ms)

    def _shorten(self, body: Body, base_url: str, now_ms: int) -> Answer:
        prompt = body.prompt or ""
        order = _order(
            body, base_url, action="SHORTEN", work="shorten", prompt=prompt, told=f"/shorten {prompt}"
        )
        return self._prompted("shorten", replace(order, text=_shortened(prompt)), now_ms)

    def _blend(self, body: Body, base_url: str, now_ms: int) -> Answer:
        images = body.base64_array or []
        if not 2 <= len(images) <= 5:
            return Answer(code=4, description="base64List参数错误")
        if (body.dimensions or "SQUARE") not in ("PORTRAIT", "SQUARE", "LANDSCAPE"):
            return Answer(code=4, description="dimensions参数错误")
        if any(not self._is_image(image) for image in images):
            return Answer(code=4, description="base64格式错误")
        order = _order(
            body, base_url, action="BLEND", work="blend", prompt="a blend", told=f"/blend {len(images)}"
        )
        return self._submit("blend", order, now_ms)

    def _describe(self, body: Body, base_url: str, now_ms: int) -> Answer:
        if not body.base64:
            return Answer(code=4, description="base64不能为空")
        if not self._is_image(body.base64):
            return Answer(code=4, description="base64格式错误")
        order = _order(
            body, base_url, action="DESCRIBE", work="describe", prompt="", told="/describe image.png"
        )
        return self._submit("describe", replace(order, text=_DESCRIBED), now_ms)

    def _edit(self, body: Body, base_url: str, now_ms: int) -> Answer:
        if not self._is_image(body.image or ""):
            return Answer(code=4, description="image参数错误")
        prompt = body.prompt or ""
        order = _order(body, base_url, action="EDIT", work="edit", prompt=prompt, told=f"/edit {prompt}")
        return self._prompted("edit", order, now_ms)

    def _video(self, body: Body, base_url: str, now_ms: int) -> Answer:
        if body.action == "extend" and str(body.task_id or "") not in self._engine.jobs:
            return Answer(code=3, description="关联任务不存在或已失效")
        if body.action != "extend" and not self._is_image(body.image or ""):
            return Answer(code=4, description="image参数错误")
        order = _order(
            body, base_url, action="VIDEO", work="video", prompt=body.prompt or "a video", told="/video"
        )
        return self._submit("video", replace(order, parent_id=str(body.task_id or "")), now_ms)

    def _show(self, body: Body, base_url: str, now_ms: int) -> Answer:
        if not body.job_id:
            return Answer(code=4, description="jobId不能为空")
        told = f"/show {body.job_id}"
        order = _order(body, base_url, action="SHOW", work="imagine", prompt="a shown job", told=told)
        return self._submit("show", order, now_ms)

    def _swap(self, body: Body, base_url: str, now_ms: int) -> Answer:
        for field, image in (("sourceBase64", body.source_base64), ("targetBase64", body.target_base64)):
            if not self._is_image(image or ""):
                return Answer(code=4, description=f"{field}参数错误")
        order = _order(body, base_url, action="SWAP_FACE", work="swap", prompt="", told="/swap")
        return self._submit("swap", replace(order, bot_type="INSIGHT_FACE"), now_ms)

    def _video_swap(self, body: Body, base_url: str, now_ms: int) -> Answer:
        order = _order(body, base_url, action="SWAP_VIDEO_FACE", work="swap", prompt="", told="/swap")
        return self._submit("swap", order, now_ms)

    def _upload(self, body: Body, base_url: str, now_ms: int) -> Answer:
        images = body.base64_array or []
        if not images or any(not self._is_image(image) for image in images):
            return Answer(code=4, description="base64Array参数错误")
        links = [
            f"{base_url}/mj/uploads/{chance.uuid(now_ms, place, len(image))}.png"
            for place, image in enumerate(images)
        ]
        return Answer(code=1, description="success", result=links)

    def _action(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """A button: an order of its own, or a window (21) for those that open one."""
        custom_id = body.custom_id or ""
        if not body.task_id or not custom_id:
            return Answer(code=4, description="taskId或customId不能为空")
        parent, refusal = self._parent(str(body.task_id))
        if parent is None:
            return refusal
        if custom_id not in {button.custom_id for button in parent.task.buttons}:
            return Answer(code=3, description="关联动作不存在")
        if custom_id.startswith(buttons.BOOKMARK) and self._manner.bookmark_is_parent:
            return Answer(code=1, description="Submit success", result=parent.task.id)
        press = buttons.meaning(custom_id)
        if press is None or (custom_id == buttons.READ_ALL and not self._manner.reads_all):
            return Answer(code=4, description="不支持的动作")
        if custom_id == buttons.READ_ALL:
            return self._read_all(parent, press, body, now_ms)
        order = self._pressed(parent, press, custom_id, body)
        if press.window or (press.remixed and body.enable_remix):
            return self._open_window(parent, order, custom_id, now_ms)
        if press.work == "upscale" and self._engine.upscale_of(parent, order.number) is not None:
            answer = self._engine.strand(self._engine.new(order, now_ms), now_ms)
        else:
            answer = self._prompted("action", order, now_ms)
        if answer.code in (1, 22):
            self._engine.mark(parent, custom_id)
        return answer

    def _read_all(self, parent: Job, press: buttons.Press, body: Body, now_ms: int) -> Answer:
        """ "Imagine all": four tasks, their ids joined by commas, states numbered (trueai v11)."""
        answers = []
        for number in range(1, 5):
            order = self._pressed(parent, press, f"MJ::Job::PicReader::{number}", body)
            marked = None if order.state is None else f"{order.state}::{number}"
            answers.append(self._prompted("action", replace(order, state=marked), now_ms))
        ids = [str(answer.result) for answer in answers if answer.result]
        if not ids:
            return answers[0]
        return Answer(code=1, description="Submit success", result=",".join(ids))

    def _modal(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """It runs under the window's own id; until it has started, a second answer is taken too, and billed."""
        job = self._engine.jobs.get(str(body.task_id or ""))
        if not body.task_id:
            return Answer(code=4, description="taskId不能为空")
        if job is None:
            return Answer(code=3, description="任务不存在或已失效")
        if job.task.status != "MODAL":
            return Answer(code=4, description="任务状态错误")
        press = buttons.meaning(job.custom_id)
        if press is not None and press.needs_mask and not self._is_image(body.mask_base64 or ""):
            return Answer(code=4, description="蒙版base64不能为空")
        if self._engine.is_full:
            return self.lose_window(job)
        prompt = (body.prompt or "").strip()
        if prompt:
            job.order = replace(job.order, prompt=prompt)
            job.task = replace(job.task, prompt=prompt, prompt_en=prompt)
        return self._engine.accept("modal", job, now_ms)

    def lose_window(self, job: Job | None) -> Answer:
        """A full queue; where it is told by 23, the window that was answered is deleted with it."""
        if job is not None and self._manner.queue_full == 23:
            self._engine.jobs.pop(job.task.id, None)
        return self._engine.full()

    def _change(self, body: Body, _base_url: str, now_ms: int) -> Answer:
        """U, V and R. An upscale that exists is answered 21 with its id by novicezk until March 2024."""
        index, action = body.index or 0, body.action or ""
        if not body.task_id:
            return Answer(code=4, description="taskId不能为空")
        if action not in _ACTIONS or (action != "REROLL" and not 1 <= index <= 4):
            return Answer(code=4, description="action参数错误")
        parent, refusal = self._parent(str(body.task_id))
        if parent is None:
            return refusal
        existing = self._engine.upscale_of(parent, index) if action == "UPSCALE" else None
        if existing is not None and self._manner.existed:
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
        return self._prompted("change", order, now_ms)

    def _simple_change(self, body: Body, base_url: str, now_ms: int) -> Answer:
        found = re.fullmatch(r"(\S+) ([UVR])([1-4]?)", (body.content or "").strip())
        if found is None:
            return Answer(code=4, description="content参数错误")
        action = {"U": "UPSCALE", "V": "VARIATION", "R": "REROLL"}[found[2]]
        return self._change(
            replace(body, task_id=found[1], action=action, index=int(found[3] or 0)), base_url, now_ms
        )

    def _prompted(self, kind: str, order: Order, now_ms: int) -> Answer:
        if not order.prompt.strip():
            return Answer(code=4, description="prompt不能为空")
        for word in BANNED_WORDS:
            if re.search(rf"\b{word}\b", order.prompt, re.IGNORECASE):
                return banned(order.prompt, word)
        return self._submit(kind, order, now_ms)

    def _submit(self, kind: str, order: Order, now_ms: int) -> Answer:
        if self._engine.is_full:
            return self._engine.full()
        return self._engine.accept(kind, self._engine.new(order, now_ms), now_ms)

    def _parent(self, task_id: str) -> tuple[Job | None, Answer]:
        parent = self._engine.jobs.get(task_id)
        if parent is None:
            return None, Answer(code=3, description="关联任务不存在或已失效")
        if parent.task.status != "SUCCESS":
            return None, Answer(code=4, description="关联任务状态错误")
        return parent, Answer(code=1, description="")

    def _open_window(self, parent: Job, order: Order, custom_id: str, now_ms: int) -> Answer:
        job = self._engine.new(order, now_ms)
        job.custom_id = custom_id
        job.task = replace(job.task, status="MODAL")
        self._engine.mark(parent, custom_id)
        # trueai's Inpaint comes without its prompt (its issue 59).
        empty = self._manner.shape == "tru" and custom_id.startswith("MJ::Inpaint")
        properties: Properties = {"finalPrompt": "" if empty else order.prompt, "remix": True}
        if self._manner.shape == "go":
            properties = {}
        return Answer(
            code=21, description=self._manner.window_words, result=job.task.id, properties=properties
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

    def _is_image(self, text: str) -> bool:
        if text.startswith(("http://", "https://")):
            return self._manner.shape in ("tru", "go")
        try:
            data = base64.b64decode(text.partition(";base64,")[2] or text, validate=True)
        except (binascii.Error, ValueError):
            return False
        return data.startswith((b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"RIFF"))


def banned(prompt: str, word: str) -> Answer:
    """The answer to a prompt with a forbidden word."""
    return Answer(
        code=24,
        description="May contain sensitive words",
        properties={"promptEn": prompt, "bannedWord": word},
    )


def _order(body: Body, base_url: str, *, action: str, work: str, prompt: str, told: str) -> Order:
    return Order(
        action=action,
        work=work,
        prompt=prompt,
        description=told,
        base_url=base_url,
        bot_type=body.bot_type or "MID_JOURNEY",
        state=body.state,
        notify_hook=body.notify_hook,
    )


def _choice(text: str, number: int) -> str:
    mark = f"{number}\ufe0f\u20e3 "
    return next((line.removeprefix(mark) for line in text.splitlines() if line.startswith(mark)), "")


def _shortened(prompt: str) -> str:
    words = prompt.split()
    cuts = (" ".join(words[: max(1, len(words) * (6 - n) // 6)]) for n in range(1, 6))
    lines = "\n\n".join(f"{n}\ufe0f\u20e3 {cut}" for n, cut in enumerate(cuts, start=1))
    return (
        "## Important tokens\n"
        + " ".join(f"**{word}**" for word in words)
        + f"\n## Shortened prompts\n{lines}"
    )
